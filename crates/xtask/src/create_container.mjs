// Creates the container CONTAINER at the blob service ENDPOINT, whose path is the account, with the key KEY.
// Azurite starts empty, and no client that the tests have can create a container.
import { createHmac } from "node:crypto";

const { ENDPOINT, KEY, CONTAINER } = process.env;
const url = new URL(`${ENDPOINT}/${CONTAINER}?restype=container`);
const account = url.pathname.split("/")[1];
const date = new Date().toUTCString();
const version = "2023-11-03";
// Shared Key: the verb, eleven standard headers that are not sent, the x-ms ones, then the resource with the account before it.
// https://learn.microsoft.com/en-us/rest/api/storageservices/authorize-with-shared-key
const toSign = [
  "PUT", ...Array(11).fill(""), `x-ms-date:${date}`, `x-ms-version:${version}`,
  `/${account}${url.pathname}`, "restype:container",
].join("\n");
const signature = createHmac("sha256", Buffer.from(KEY, "base64")).update(toSign, "utf8").digest("base64");
const answer = await fetch(url, {
  method: "PUT",
  headers: { "x-ms-date": date, "x-ms-version": version, authorization: `SharedKey ${account}:${signature}` },
});
if (answer.status !== 201) {
  throw new Error(`${answer.status} ${await answer.text()}`);
}
