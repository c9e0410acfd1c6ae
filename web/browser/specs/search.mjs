// A call is found by a word that was said in it, and the word is marked.
import { call, check, eventually, expect, open } from "../harness.mjs";

export async function run(browser, storageState, samples) {
  const page = await open(browser, { storageState });
  await check("search: a word of the prompt finds the call and is marked", async () => {
    const word = samples ? "leak" : `quokka${Date.now().toString(36)}`;
    const id = samples ? null : await call(`Please remember the word ${word} for me`);
    const mark = page.locator(".hit mark");
    await eventually(async () => {
      await page.goto(`/search?q=${word}`);
      return (await mark.count()) > 0;
    }, "nothing is found");
    expect((await mark.first().textContent()).toLowerCase().includes(word), "another word is marked");
    if (id) {
      await page.locator(".hit-head a").first().click();
      await page.waitForURL(`**/interactions/${id}`);
    }
  });
  await check("search: a query that cannot be understood is explained", async () => {
    if (samples) return;
    await page.goto("/search?q=%22open");
    expect(await page.getByRole("alert").isVisible(), "there is no explanation");
  });
  await page.context().close();
}
