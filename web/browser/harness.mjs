// What every spec uses: a browser that is strict about errors, a way to say what was checked, and a client of the gateway.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** `cargo xtask test` keeps the packages outside the work tree and says where; else they are beside this file. */
const MODULES = process.env.NODE_MODULES;
const require = createRequire(MODULES ? join(MODULES, "here.js") : import.meta.url);
const { chromium } = require("playwright-core");
const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

export const BASE_URL = need("BASE_URL").replace(/\/$/, "");
export const LOGIN_URL = need("LOGIN_URL");
export const GATEWAY_URL = (process.env.GATEWAY_URL ?? "").replace(/\/$/, "");
export const API_KEY = process.env.API_KEY ?? "";
/** The server holds made-up rows and has no gateway: what needs real calls is left out, and said to be. */
export const SAMPLES = process.env.SAMPLES === "1";

export const WIDTHS = [360, 1440];
export const SCHEMES = ["light", "dark"];

function need(name) {
  const value = process.env[name];
  if (!value) {
    console.error(`${name} is not set; say where the console listens`);
    process.exit(2);
  }
  return value;
}

let failures = 0;
let passes = 0;

/** Runs one check and prints a line about it. */
export async function check(name, body) {
  try {
    await body();
    passes += 1;
    console.log(`ok    ${name}`);
  } catch (error) {
    failures += 1;
    console.log(`FAIL  ${name}\n      ${String(error.message ?? error).split("\n").slice(0, 12).join("\n      ")}`);
  }
}

export function skip(name, why) {
  console.log(`skip  ${name} (${why})`);
}

export function summary() {
  console.log(`${passes} passed, ${failures} failed`);
  return failures;
}

export function expect(condition, message) {
  if (!condition) throw new Error(message);
}

/** Waits until `probe` is truthy; the message says what was waited for. */
export async function eventually(probe, message, timeoutMs = 8000) {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const value = await probe();
    if (value) return value;
    if (Date.now() > end) throw new Error(`${message} (waited ${timeoutMs} ms)`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

export async function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync",
    ],
  });
}

/** A window of its own: cookies from `storageState`, and every complaint of the browser collected in `page.complaints`. */
export async function open(browser, { storageState, width = 1440, scheme = "light" } = {}) {
  const context = await browser.newContext({
    storageState, viewport: { width, height: 900 }, colorScheme: scheme, reducedMotion: "reduce", baseURL: BASE_URL,
  });
  const page = await context.newPage();
  page.complaints = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") page.complaints.push(message.text());
  });
  page.on("pageerror", (error) => page.complaints.push(`uncaught: ${error.message}`));
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      console.error(`policy violated: ${event.violatedDirective} by ${event.blockedURI}`);
    });
  });
  return page;
}

/** Serious and critical findings of axe, as text. */
export async function accessibilityFindings(page) {
  // Runtime.evaluate is not subject to the page's policy; a script tag would be.
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  }));
  return violations
    .filter((finding) => ["serious", "critical"].includes(finding.impact))
    .map((finding) => `${finding.id}: ${finding.nodes.slice(0, 3).map((node) => `${node.target} ${node.any?.[0]?.message ?? ""}`).join(" | ")}`);
}

/** Pixels by which the page is wider than the window, and what sticks out. */
export async function overflow(page) {
  return page.evaluate(() => {
    const wide = document.documentElement.scrollWidth - innerWidth;
    if (wide <= 0) return null;
    const culprit = Array.from(document.querySelectorAll("body *"))
      .filter((element) => !element.closest(".nav, .scroll, pre") && element.getBoundingClientRect().right > innerWidth + 1)
      .map((element) => `${element.tagName.toLowerCase()}.${element.getAttribute("class") ?? ""}`);
    return `${wide} px too wide: ${culprit.slice(0, 4).join(", ")}`;
  });
}

/** Makes one call through the gateway and returns its id. */
export async function call(prompt) {
  const headers = { authorization: `Bearer ${API_KEY}`, "content-type": "application/json" };
  const models = await (await fetch(`${GATEWAY_URL}/v1/models`, { headers })).json();
  const model = process.env.MODEL ?? models.data[0].id;
  const answer = await fetch(`${GATEWAY_URL}/v1/chat/completions`, {
    method: "POST", headers, body: JSON.stringify({ model, messages: [{ role: "user", content: prompt }] }),
  });
  expect(answer.ok, `the gateway answered ${answer.status}: ${(await answer.text()).slice(0, 300)}`);
  return answer.headers.get("x-tollgate-interaction-id");
}
