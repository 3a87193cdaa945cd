/** The table of cases, by this client. The servers are started by tests/clients_node. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { OtpService } from "otp-service-client";

type Json = Record<string, any>;
const { CASES = "", SCRIPT = "", SERVICE = "", KEY = "", NOBODY = "" } = process.env;
const cases = JSON.parse(readFileSync(CASES, "utf8")) as { scripted: Json[]; service: Json[] };
const RUN = "typescript";

/** Call a method by its dotted name. */
function call(client: OtpService, name: string, ...args: unknown[]): Promise<Json> {
  const path = name.split(".");
  const method = path.pop()!;
  const resource = path.reduce((found: any, one) => found[one], client);
  return resource[method](...args.filter((one) => one !== undefined));
}

/** Make a call; compare what it gives or throws with what the table says. */
async function expect(step: Json, act: () => Promise<Json>): Promise<Json | undefined> {
  if (!step["raises"]) {
    const given = await act();
    for (const [name, value] of Object.entries(step["gives"] ?? {})) assert.deepEqual(given[name], value, name);
    return given;
  }
  const error: any = await act().then(() => assert.fail("nothing was thrown"), (thrown: unknown) => thrown);
  assert.equal(error.constructor.name, step["raises"], error.stack);
  for (const [name, value] of Object.entries(step["error"] ?? {})) assert.deepEqual(error[name], value, name);
  if (step["says_when"]) assert.ok(error.retry_after > 0);
  return undefined;
}

cases.scripted.forEach((one, number) => test(`script: ${one["name"]}`, async () => {
  const url = one["nobody"] ? NOBODY : `${SCRIPT}/${number}.${RUN}`;
  const client = new OtpService(url, KEY, { timeout: one["timeout"] ?? 30, retries: one["retries"] ?? 2 });
  const options = one["key"] ? { idempotency_key: one["key"] } : undefined;
  const began = performance.now();
  await expect(one, () => call(client, one["call"], ...(one["ids"] ?? []), one["body"] ?? (options && {}), options));
  const took = (performance.now() - began) / 1000;
  assert.ok((one["at_least"] ?? 0) <= took + 0.001 && took <= (one["at_most"] ?? 30), `${took} s`);

  const seen = (await (await fetch(`${SCRIPT}/seen/${number}.${RUN}`)).json()) as Json[];
  assert.equal(seen.length, one["requests"]);
  assert.ok(new Set(seen.map((each) => JSON.stringify(each))).size <= 1, "tries differ");
  const keys = seen.filter((each) => each["request"].startsWith("POST")).map((each) => each["key"]);
  if (one["key"]) assert.deepEqual(new Set(keys), new Set([one["key"]]));
  if (one["keyless"]) assert.ok(keys.every((key) => key === null));
  else assert.ok(keys.every(Boolean), "no key was made");
}));

let numbers = 0;
for (const one of cases.service) test(`service: ${one["name"]}`, async () => {
  numbers += 1;
  const [$number, $key, $user] = [`+92301${7000000 + numbers}`, `ts-${numbers}`, `ts-user-${numbers}`];
  const names: Record<string, string> = { $number, $key, $user };
  const fill = (shown: unknown): any => JSON.parse(JSON.stringify(shown), (_, value) => names[value] ?? value);
  const filled = (shown: unknown): any => (shown === undefined ? undefined : fill(shown));
  const key = one["key_of_another"] ? "otp_of_nobody" : KEY;
  const client = new OtpService(one["lossy"] ? `${SCRIPT}/lossy` : SERVICE, key, { retries: one["retries"] ?? 2 });
  for (const step of one["steps"] as Json[]) {
    if (step["do"]) {
      await fetch(`${SCRIPT}/do/${step["do"].split(" ")[0]}`);
      continue;
    }
    const options = step["key"] ? { idempotency_key: names[step["key"]] } : undefined;
    const args = [...(filled(step["ids"]) ?? []), filled(step["body"]), options];
    const given = await expect(step, () => call(client, step["call"], ...args));
    if (step["as"]) {
      const code = await client.sandbox.code_of(given!["id"]);
      const wrong = String((Number(code) + 1) % 1_000_000).padStart(6, "0");
      Object.assign(names, { [`$${step["as"]}`]: given!["id"], $code: code, $wrong: wrong });
    }
  }
});
