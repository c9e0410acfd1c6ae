// The certified `oidc-provider` on loopback, with one client and whoever signs in: the name given at its login form is the
// person, and PEOPLE (JSON, name to claims) says what it knows of them. Usage: PORT, CLIENT_SECRET, REDIRECT_URI, PEOPLE.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.env.NODE_MODULES}/`);
const { default: Provider } = await import(pathToFileURL(require.resolve("oidc-provider")).href);

const people = JSON.parse(process.env.PEOPLE);
const issuer = `http://127.0.0.1:${process.env.PORT}`;
const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "tollgate",
      client_secret: process.env.CLIENT_SECRET,
      redirect_uris: [process.env.REDIRECT_URI],
      grant_types: ["authorization_code"],
      response_types: ["code"],
    },
  ],
  claims: { openid: ["sub"], profile: ["name", "preferred_username", "groups"], email: ["email"] },
  // Claims come from the userinfo endpoint, as this provider does by default.
  pkce: { required: () => true },
  features: { devInteractions: { enabled: true } },
  cookies: { keys: ["only-for-tests"] },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...people[id] }) }),
});
provider.listen(Number(process.env.PORT), "127.0.0.1", () => console.log(JSON.stringify({ issuer })));
