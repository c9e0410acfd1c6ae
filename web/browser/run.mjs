// Runs every spec in one browser. A line per check; the exit status is the number of failures, at most 100.
import { SAMPLES, LOGIN_URL, check, eventually, expect, launch, open, summary } from "./harness.mjs";
import * as pages from "./specs/pages.mjs";
import * as keyboard from "./specs/keyboard.mjs";
import * as theme from "./specs/theme.mjs";
import * as live from "./specs/live.mjs";
import * as search from "./specs/search.mjs";
import * as sql from "./specs/sql.mjs";
import * as keys from "./specs/keys.mjs";
import * as people from "./specs/people.mjs";
import * as setup from "./specs/setup.mjs";
import * as leave from "./specs/leave.mjs";

const browser = await launch();
let storageState;
await check("login: the link signs in", async () => {
  const page = await open(browser);
  await page.goto(LOGIN_URL);
  expect(new URL(page.url()).pathname === "/", `ended at ${page.url()}`);
  await page.getByRole("heading", { name: "Overview", level: 1 }).waitFor();
  const cookies = await page.context().cookies();
  const session = cookies.find((cookie) => cookie.name === "tollgate_session");
  expect(session?.httpOnly && session.sameSite === "Lax", "the session cookie is not HttpOnly and SameSite=Lax");
  storageState = await page.context().storageState();
  await page.context().close();
});
await check("login: the link works once", async () => {
  const page = await open(browser);
  await page.goto(LOGIN_URL);
  await eventually(() => page.getByRole("alert").isVisible(), "the second use is not refused");
  await page.context().close();
});
if (storageState) {
  for (const spec of [live, search, people, pages, keyboard, theme, sql, keys, setup, leave]) await spec.run(browser, storageState, SAMPLES);
}
await browser.close();
process.exit(Math.min(summary(), 100));
