// Somebody is added, given a role, a key and a link, signs in with it, and is deactivated.
import { check, eventually, expect, open } from "../harness.mjs";

export async function run(browser, storageState) {
  const page = await open(browser, { storageState });
  const name = `ann-${Date.now()}@browser.example`;
  const team = `team-${Date.now()}`;
  let address;
  await check("people: a team and a person are added", async () => {
    await page.goto("/people");
    await page.getByLabel("New team").fill(team);
    await page.getByRole("button", { name: "Add team" }).click();
    await page.getByRole("region", { name: "Teams" }).getByText(team).waitFor();
    const form = page.getByRole("region", { name: "Add a person" });
    await form.getByLabel("User name").fill(name);
    await form.getByLabel("Teams").fill(team);
    await form.getByRole("button", { name: "Add person" }).click();
    await page.getByRole("heading", { level: 1, name }).waitFor();
    address = page.url();
  });
  await check("people: the list shows the role and the team", async () => {
    await page.goto("/people");
    await page.getByLabel("Name or a part of it").fill(name.slice(0, 12));
    await page.getByRole("button", { name: "Find" }).click();
    const line = page.getByRole("region", { name: "People" }).locator("tr", { hasText: name });
    expect((await line.textContent()).includes("viewer"), "the role is not in the list");
    expect((await line.textContent()).includes(team), "the team is not in the list");
  });
  await check("people: a role is changed and a key is shown once", async () => {
    await page.goto(address);
    await page.getByLabel("Role").selectOption("finance");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByRole("region", { name: "What is known" }).getByText("finance").waitFor();
    await page.getByLabel("New key").fill("laptop");
    await page.getByRole("button", { name: "Create key" }).click();
    const secret = (await page.locator(".created code").textContent()).trim();
    expect(/^tg-\w{20,}$/.test(secret), `that is no key: ${secret}`);
    await page.goto(address);
    expect(!(await page.content()).includes(secret), "the key is shown again");
    await page.getByRole("region", { name: "Keys" }).getByText("laptop").first().waitFor();
  });
  await check("people: a link signs its person in, who sees what their role may", async () => {
    await page.getByRole("button", { name: "Sign-in link" }).click();
    const link = (await page.locator(".created code").textContent()).trim();
    const hers = await open(browser);
    await hers.goto(link);
    await hers.getByRole("heading", { name: "Overview", level: 1 }).waitFor();
    expect((await hers.locator('nav a[href="/costs"]').count()) === 1, "finance is not offered the costs");
    expect((await hers.locator('nav a[href="/people"]').count()) === 0, "finance is offered the people");
    await page.goto(address);
    await page.locator("summary", { hasText: "Deactivate" }).click();
    await page.getByRole("button", { name: `Deactivate ${name}` }).click();
    await page.getByRole("button", { name: "Activate" }).waitFor();
    await hers.goto("/costs");
    await eventually(() => new URL(hers.url()).pathname === "/login", "she is still signed in");
    await hers.context().close();
  });
  await check("people: the browser complains about nothing", () => {
    expect(page.complaints.length === 0, page.complaints.join("\n"));
  });
  await page.context().close();
}
