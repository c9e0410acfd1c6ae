// Signing out ends the session, not only the cookie. Runs last: it ends the session of every spec.
import { check, expect, open } from "../harness.mjs";

export async function run(browser, storageState) {
  await check("leave: after signing out the old cookie opens nothing", async () => {
    const page = await open(browser, { storageState });
    await page.goto("/");
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.waitForURL("**/login");
    const old = await open(browser, { storageState });
    await old.goto("/costs");
    expect(new URL(old.url()).pathname === "/login", `the old session still opens ${old.url()}`);
    await old.context().close();
    await page.context().close();
  });
}
