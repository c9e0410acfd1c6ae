// The SQL page: run, refuse, download.
import { readFileSync } from "node:fs";
import { check, expect, open } from "../harness.mjs";

export async function run(browser, storageState) {
  const page = await open(browser, { storageState });
  const editor = page.locator("#query");
  await check("sql: Ctrl+Enter runs the query", async () => {
    await page.goto("/sql");
    await editor.fill("SELECT team, count(*) AS calls FROM interactions GROUP BY team ORDER BY calls DESC");
    await editor.press("Control+Enter");
    await page.locator(".result tbody tr").first().waitFor();
    const heads = (await page.locator(".result thead th").allTextContents()).join(" ");
    expect(heads.includes("team") && heads.includes("calls"), `columns are ${heads}`);
    expect((await editor.inputValue()).startsWith("SELECT team"), "the query is gone from the editor");
  });
  await check("sql: a statement that writes is refused in place", async () => {
    await editor.fill("INSERT INTO interactions VALUES (1)");
    await page.getByRole("button", { name: "Run" }).click();
    const refusal = page.getByRole("alert");
    await refusal.waitFor();
    expect((await refusal.textContent()).includes("refused"), "it does not say so");
  });
  await check("sql: every example runs", async () => {
    for (let index = 0; index < await page.locator("[data-example]").count(); index += 1) {
      const title = await page.locator("[data-example]").nth(index).textContent();
      await page.locator("[data-example]").nth(index).click();
      await page.getByRole("button", { name: "Run" }).click();
      await page.waitForLoadState("load");
      expect((await page.getByRole("alert").count()) === 0, `${title}: ${await page.getByRole("alert").allTextContents()}`);
    }
  });
  for (const [format, start] of [["CSV", "team"], ["JSON", "{"], ["Arrow", ""]]) {
    await check(`sql: downloads ${format}`, async () => {
      await page.goto("/sql");
      await editor.fill("SELECT team, count(*) AS calls FROM interactions GROUP BY team");
      const waiting = page.waitForEvent("download");
      await page.getByRole("button", { name: format }).click();
      const content = readFileSync(await (await waiting).path(), "latin1");
      expect(content.length > 0 && content.startsWith(start), `it starts with ${content.slice(0, 40)}`);
    });
  }
  await check("sql: a column goes from the sidebar into the editor", async () => {
    await page.goto("/sql");
    await editor.fill("SELECT ");
    await page.locator("[data-insert]").first().click();
    expect(/^SELECT \w+/.test(await editor.inputValue()), "nothing was inserted");
  });
  await page.context().close();
}
