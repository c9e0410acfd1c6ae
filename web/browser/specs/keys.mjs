// A virtual key: created, shown once, revoked.
import { check, expect, open } from "../harness.mjs";

export async function run(browser, storageState) {
  const page = await open(browser, { storageState });
  const name = `browser test ${Date.now()}`;
  await check("keys: a new key is shown once", async () => {
    await page.goto("/keys");
    await page.getByLabel("Name").fill(name);
    await page.getByLabel("Team").fill("browser");
    await page.getByRole("button", { name: "Create key" }).click();
    const secret = (await page.locator(".created code").textContent()).trim();
    expect(/^tg-\w{20,}$/.test(secret), `that is no key: ${secret}`);
    await page.goto("/keys");
    expect(!(await page.content()).includes(secret), "the key is shown again");
  });
  await check("keys: it can be revoked", async () => {
    const line = page.locator("tr", { hasText: name });
    await line.locator("summary", { hasText: "Revoke" }).click();
    await line.getByRole("button", { name: /Revoke/ }).click();
    await page.locator("tr", { hasText: name }).getByText("revoked").waitFor();
  });
  await page.context().close();
}
