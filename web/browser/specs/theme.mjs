// Light and dark: what the system prefers, until the reader chooses.
import { check, expect, open } from "../harness.mjs";

export async function run(browser, storageState) {
  await check("theme: the choice is kept and the page comes in it at once", async () => {
    const page = await open(browser, { storageState, scheme: "light" });
    await page.goto("/costs");
    const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await paper();
    await page.getByRole("button", { name: "Theme" }).click();
    const dark = await paper();
    expect(light !== dark, "nothing changed");
    await page.goto("/interactions");
    expect((await paper()) === dark, "the choice is forgotten");
    expect((await page.locator("html").getAttribute("data-theme")) === "dark", "the server does not send it");
    await page.context().close();
  });
}
