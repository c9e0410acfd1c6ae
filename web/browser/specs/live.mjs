// A call that is made while someone watches.
import { call, check, eventually, expect, open, skip } from "../harness.mjs";

export async function run(browser, storageState, samples) {
  if (samples) return skip("live: a new call appears", "no gateway");
  const page = await open(browser, { storageState });
  await check("live: a new call appears in the list within two seconds", async () => {
    await page.goto("/interactions");
    await eventually(() => page.locator("[data-tail][aria-pressed=true]").isVisible(), "the tail is not on");
    const id = await call("live tail, please");
    await page.locator(`#call-${id}`).waitFor({ timeout: 2000 });
  });
  await check("live: paused is paused, and resumed catches up", async () => {
    await page.locator("[data-tail]").click();
    const id = await call("while paused");
    await page.waitForTimeout(1500);
    expect((await page.locator(`#call-${id}`).count()) === 0, "the row came although the tail is paused");
    await page.locator("[data-tail]").click();
    await page.locator(`#call-${id}`).waitFor({ timeout: 4000 });
  });
  await check("live: the overview follows", async () => {
    await page.goto("/");
    const id = await call("overview, please");
    // The page spaces its refreshes at eight times what one takes, and a debug build beside other tests takes seconds.
    await eventually(() => page.locator(`#call-${id}`).count(), "the call is not among the recent ones", 40_000);
  });
  await check("live: the call's page tells the whole story", async () => {
    const id = await call("tell the whole story of a heron");
    const answer = await eventually(async () => {
      const answer = await page.goto(`/interactions/${id}`);
      return answer.ok() && answer;
    }, "the call has no page");
    expect(answer.status() === 200, "no page");
    const text = await page.locator("main").innerText();
    for (const part of ["Decision", "Route", "Timeline", "Tokens", "story of a heron", "On the wire"]) {
      expect(text.includes(part), `“${part}” is missing`);
    }
    await page.locator("details.raw > summary").first().click();
    expect((await page.locator("#raw-request").textContent()).includes("story of a heron"), "the bytes are not shown");
  });
  await page.context().close();
}
