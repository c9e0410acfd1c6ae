// Without a mouse: the skip link, visible focus, the shortcut to the search, the charts.
import { check, expect, open } from "../harness.mjs";

export async function run(browser, storageState) {
  const page = await open(browser, { storageState });
  await check("keyboard: the first stop is the skip link, and it works", async () => {
    await page.goto("/");
    await page.keyboard.press("Tab");
    const skip = page.locator(".skip");
    expect(await skip.evaluate((link) => link === document.activeElement), "the skip link is not the first stop");
    const box = await skip.boundingBox();
    expect(box && box.y >= 0, "the skip link stays out of sight");
    await page.keyboard.press("Enter");
    expect(await page.evaluate(() => document.activeElement?.id === "main"), "the focus is not on the content");
  });
  await check("keyboard: whatever has the focus shows it", async () => {
    await page.goto("/interactions");
    for (let stop = 0; stop < 30; stop += 1) {
      await page.keyboard.press("Tab");
      const hidden = await page.evaluate(() => {
        const shows = (element) => element && getComputedStyle(element).outlineStyle !== "none";
        const focused = document.activeElement;
        if (!focused || focused === document.body) return null;
        return shows(focused) || shows(focused.closest("tr")) ? null : focused.outerHTML.slice(0, 120);
      });
      expect(!hidden, `no outline on ${hidden}`);
    }
  });
  await check("keyboard: / goes to the search, Enter searches", async () => {
    await page.goto("/");
    await page.keyboard.press("/");
    await page.keyboard.type("claims");
    await page.keyboard.press("Enter");
    await page.waitForURL(/\/search\?q=claims/);
  });
  await check("keyboard: a / inside a field is a /", async () => {
    await page.goto("/search");
    await page.locator("#q").fill("");
    await page.locator("#q").press("/");
    expect((await page.locator("#q").inputValue()) === "/", "the character was swallowed");
  });
  await check("keyboard: arrow keys read a chart", async () => {
    await page.goto("/?range=24h");
    await page.locator(".chart-plot").first().focus();
    await page.keyboard.press("End");
    await page.keyboard.press("ArrowLeft");
    expect(await page.locator("#tip").isVisible(), "there is no tooltip");
    expect((await page.locator("#announce").textContent()).length > 5, "nothing is announced");
  });
  await check("mouse: a chart shows the values under the pointer", async () => {
    await page.goto("/?range=24h");
    const box = await page.locator(".chart-plot").first().boundingBox();
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    expect(await page.locator("#tip").isVisible(), "there is no tooltip");
    const tip = await page.locator("#tip").boundingBox();
    expect(tip.x >= 0 && tip.x + tip.width <= 1440, "the tooltip leaves the window");
  });
  await page.context().close();
}
