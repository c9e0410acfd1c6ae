// Settings for clients: chosen by link, with this installation's own values, and never with a key inside.
import { GATEWAY_URL, check, expect, open } from "../harness.mjs";

export async function run(browser, storageState) {
  const page = await open(browser, { storageState });
  const texts = () => page.locator(".client pre").allTextContents();
  await check("setup: a client is one click away, with this gateway's address", async () => {
    await page.goto("/setup");
    await page.getByRole("navigation", { name: "Clients" }).getByRole("link", { name: "Claude Code" }).click();
    await page.getByRole("heading", { name: "Claude Code" }).waitFor();
    const all = (await texts()).join("\n");
    expect(all.includes(`ANTHROPIC_BASE_URL="${GATEWAY_URL}"`), `the address is not there: ${all}`);
  });
  await check("setup: the chosen model is in the text, and stays when the client changes", async () => {
    await page.getByLabel("Model").fill("team/any-model:1");
    await page.getByRole("button", { name: "Put into the text" }).click();
    expect((await texts()).join("\n").includes('ANTHROPIC_MODEL="team/any-model:1"'), "the model is not in the text");
    await page.getByRole("link", { name: "Codex" }).click();
    expect((await texts()).join("\n").includes('model = "team/any-model:1"'), "the model was forgotten");
  });
  await check("setup: Copy copies the text as it is shown", async () => {
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    const text = page.locator(".client pre").last();
    await page.locator(".client .copy").last().click();
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    expect(copied === (await text.textContent()), `copied was ${copied}`);
  });
  await check("setup: a new key is shown once, and stands in no snippet", async () => {
    await page.goto("/setup?client=curl");
    await page.getByLabel("Name").fill(`browser test ${Date.now()} setup`);
    await page.getByLabel("Team").fill("browser");
    await page.getByRole("button", { name: "Create key" }).click();
    const shown = (await page.locator(".created code").textContent()).trim();
    expect(/^export TOLLGATE_KEY=tg-\w{20,}$/.test(shown), `that is no key: ${shown}`);
    expect(!(await texts()).some((text) => text.includes("tg-")), "the key is in a snippet");
    await page.getByRole("heading", { name: "curl" }).waitFor();
    await page.goto("/setup?client=curl");
    expect(!(await page.content()).includes(shown.split("=")[1]), "the key is shown again");
  });
  await page.context().close();
}
