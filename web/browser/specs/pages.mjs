// Every page at both widths and in both colour schemes: it opens, fits, complains about nothing, and axe finds nothing.
import { SCHEMES, WIDTHS, accessibilityFindings, check, expect, open, overflow } from "../harness.mjs";

const PATHS = [
  "/", "/?range=1h", "/?range=30d", "/interactions", "/interactions?outcome=denied", "/models", "/costs", "/costs?group=model&range=7d",
  "/search", "/search?q=the", "/search?q=%22open", "/sql", "/reports", "/integrity", "/people", "/keys", "/setup", "/setup?client=vercel-ai", "/setup?client=cursor", "/login", "/nowhere",
];

export async function run(browser, storageState) {
  for (const width of WIDTHS) {
    for (const scheme of SCHEMES) {
      const page = await open(browser, { storageState, width, scheme });
      for (const path of PATHS) await check(`${path} at ${width} px, ${scheme}`, () => visit(page, path));
      await check(`a verification at ${width} px, ${scheme}`, async () => {
        await page.goto("/integrity");
        await page.getByRole("button", { name: "Verify now" }).click();
        await page.getByRole("region", { name: "Verification" }).waitFor();
        await inspect(page);
      });
      await page.goto("/interactions?range=30d");
      const call = await page.locator(".row-link").first().getAttribute("href").catch(() => null);
      await check(`one interaction at ${width} px, ${scheme}`, async () => {
        expect(call, "there is no call in the list");
        await visit(page, call);
      });
      await page.goto("/people");
      const person = await page.locator(".people tbody a").first().getAttribute("href").catch(() => null);
      await check(`one person at ${width} px, ${scheme}`, async () => {
        expect(person, "there is nobody in the list");
        await visit(page, person);
      });
      await page.goto(call ?? "/");
      await check(`one interaction, raw bytes open, at ${width} px, ${scheme}`, async () => {
        for (const summary of await page.locator("details.raw > summary").all()) await summary.click();
        await inspect(page);
      });
      await page.context().close();
    }
  }
}

async function visit(page, path) {
  page.complaints.length = 0;
  const answer = await page.goto(path, { waitUntil: "load" });
  const expected = path === "/nowhere" ? 404 : 200;
  expect(answer.status() === expected, `answered ${answer.status()}`);
  expect((await page.locator("h1").count()) === 1, "there is not exactly one h1");
  await inspect(page);
}

async function inspect(page) {
  const sticksOut = await overflow(page);
  expect(!sticksOut, sticksOut);
  const findings = await accessibilityFindings(page);
  expect(findings.length === 0, findings.join("\n"));
  const complaints = page.complaints.filter((text) => !text.includes("status of 404"));
  expect(complaints.length === 0, complaints.join("\n"));
}
