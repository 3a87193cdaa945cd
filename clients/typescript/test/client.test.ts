/** Operations, what is shown, what is left behind, webhooks, fakes. */
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { inspect } from "node:util";
import * as library from "otp-service-client";
import { ApiError, InvalidWebhook, OtpService, RateLimited, TimedOut, Unavailable, webhooks } from "otp-service-client";
import { FakeOtpService, STATUSES } from "otp-service-client/testing";

const { OPENAPI = "", SCRIPT = "", STARTS = "", SILENCE = "", PROBLEMS = "" } = process.env;
const SECRET = "otp_a_secret_key";
const NOT_FOR_APPLICATIONS = ["Operation", "Gateways"];
const HELPERS = ["sandbox.code_of"];
const CROWD = 1000;

/** Return all methods by their dotted names, each with its resource. */
function methods(resource: object, name: string): [string, (...args: unknown[]) => Promise<unknown>][] {
  const own = Object.getOwnPropertyNames(Object.getPrototypeOf(resource)).filter((one) => one !== "constructor");
  const inner = Object.entries(resource).filter(([, one]) => typeof one === "object");
  return [
    ...own.map((one): [string, any] => [`${name}.${one}`, (resource as any)[one].bind(resource)]),
    ...inner.flatMap(([one, each]) => methods(each, `${name}.${one}`)),
  ].filter(([one]) => !HELPERS.includes(one));
}

test("every operation has one method, and no method is without operation", async () => {
  const asked: string[] = [];
  const keyed = new Set<string>();
  const refuse: typeof fetch = async (url, init) => {
    const request = `${init!.method} ${new URL(String(url)).pathname}`;
    asked.push(request);
    if (new Headers(init!.headers).has("Idempotency-Key")) keyed.add(request);
    return new Response("{}", { status: 418 });
  };
  const client = new OtpService("http://service", SECRET, { retries: 0, fetch: refuse });
  for (const [name, resource] of Object.entries(client)) {
    for (const [, method] of methods(resource as object, name)) {
      await assert.rejects(method("x", "x"), ApiError); // a body is what follows the parts of a path
    }
  }
  const specification = JSON.parse(readFileSync(OPENAPI, "utf8")) as { paths: Record<string, Record<string, any>> };
  const operations = Object.entries(specification.paths).flatMap(([path, found]) => Object.entries(found)
    .filter(([method]) => /^(get|put|post|delete)$/.test(method))
    .filter(([, one]) => !one.tags.some((tag: string) => NOT_FOR_APPLICATIONS.includes(tag)))
    .map(([method, one]): [string, boolean] => [
      `${method.toUpperCase()} ${path.replace(/\{\w+\}/g, "x")}`,
      (one.parameters ?? []).some((each: any) => each.name === "Idempotency-Key"),
    ]));
  assert.deepEqual(asked.sort(), operations.map(([name]) => name).sort());
  assert.deepEqual([...keyed].sort(), operations.filter(([, key]) => key).map(([name]) => name).sort());
});

test("every code of an error can be faked, and has its class", async () => {
  const problems = JSON.parse(PROBLEMS) as Record<string, number>;
  const faked = Object.entries(STATUSES)
    .flatMap(([status, codes]) => codes.split(" ").map((code) => [code, Number(status)]));
  assert.deepEqual(Object.fromEntries(faked), problems);
  for (const [code, status] of Object.entries(problems)) {
    const fake = new FakeOtpService();
    fake.fail_with(code);
    const error = await fake.endpoints.list().catch((thrown: unknown) => thrown);
    assert.ok(error instanceof ApiError && error.constructor !== ApiError, code);
    assert.deepEqual([error.code, error.status], [code, status]);
  }
});

test("neither a client nor an error shows a key, a code or a number", async () => {
  const client = new OtpService("http://127.0.0.1:1", SECRET, { retries: 0 });
  const broken = await client.verifications.start({ to: "+923001234567" }).catch((thrown: unknown) => thrown);
  const fake = new FakeOtpService({ code: "482913" });
  fake.fail_with("internal");
  const refused = await fake.verifications.check("vf_1", { code: "482913" }).catch((thrown: unknown) => thrown);
  const started = await fake.verifications.start({ to: "+923001234567" });
  const shown = inspect([client, broken, refused, started], { depth: 20 });
  for (const secret of [SECRET, "923001234567", "482913"]) assert.ok(!shown.includes(secret), secret);
});

test("a key, an address, an id or a time-out that cannot be one is refused, and not shown", () => {
  for (const key of ["", "two words", "clé", "a\nb"]) {
    assert.throws(() => new OtpService("http://service", key), { message: "key is no API key" });
  }
  for (const url of ["service", "ftp://service", "http://user:word@service", "http://service?x=1"]) {
    assert.throws(() => new OtpService(url, SECRET), TypeError);
  }
  const fake = new FakeOtpService();
  for (const id of ["", "../admin", "vf_1/check", "vf 1", "vf_1?x", "vf_1\n", undefined as unknown as string]) {
    assert.throws(() => fake.verifications.get(id), TypeError);
  }
  for (const idempotency_key of ["", "a\r\nX-Other: b", "clé", "two words", "a,b", "a".repeat(256)]) {
    assert.throws(() => fake.verifications.cancel("vf_1", {}, { idempotency_key }), /1 to 255 visible ASCII/);
  }
  assert.equal(fake.requests.length, 0);
  for (const options of [{ timeout: 5000 }, { timeout: 0 }, { timeout: NaN }, { retries: -1 }, { retries: NaN }]) {
    assert.throws(() => new OtpService("http://service", SECRET, options), RangeError);
  }
  assert.ok(new OtpService("http://service", `${SECRET}\n`));
});

test("it refuses to start in a browser", () => {
  Object.assign(globalThis, { window: {} });
  try {
    assert.throws(() => new OtpService("http://service", SECRET), /back end/);
  } finally {
    delete (globalThis as { window?: unknown }).window;
  }
});

/** Return how many resources of a kind Node has; its types do not know it yet. */
const active = (kind: string): number =>
  (process as any).getActiveResourcesInfo().filter((one: string) => one === kind).length;
const sockets = (): number => active("TCPSocketWrap");
const timers = (): number => active("Timeout");

async function until(what: () => boolean): Promise<void> {
  for (let left = 300; !what(); left -= 1) {
    assert.ok(left > 0, "it did not happen in time");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

test("a thousand calls at once leave no socket and no timer", async () => {
  const before = [sockets(), timers()];
  const client = new OtpService(`${SCRIPT}/${STARTS}.crowd-ts`, SECRET, { timeout: 100 });
  const calls = Array.from({ length: CROWD }, () => client.verifications.start({ to: "+923001234567" }));
  const done = await Promise.all(calls);
  assert.equal(done.filter((one) => one.id === "vf_1").length, CROWD);
  await until(() => sockets() <= before[0]!); // Node closes those that nobody uses for some seconds
  assert.ok(timers() <= before[1]! + 2, "fetch has some of its own");
});

test("calls that are given up leave no socket and no timer", async () => {
  const before = sockets();
  const client = new OtpService(`${SCRIPT}/${SILENCE}.given-up-ts`, SECRET, { timeout: 1, retries: 0 });
  const calls = Array.from({ length: 200 }, () => client.verifications.start({ to: "+923001234567" }));
  for (const one of await Promise.allSettled(calls)) {
    assert.ok(one.status === "rejected" && one.reason instanceof TimedOut);
  }
  await until(() => sockets() <= before);
});

const HOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const TOLD = { type: "verification.approved", timestamp: "2026-11-24T22:00:09.120Z", data: { id: "wh_1" } };
const HOOK = JSON.stringify(TOLD);

/** Return the headers of a webhook as Standard Webhooks signs it. */
function signed(body: string, at = Math.floor(Date.now() / 1000), secret = HOOK_SECRET): Record<string, string> {
  const key = Buffer.from(secret.replace("whsec_", ""), "base64");
  const signature = createHmac("sha256", key).update(`wh_1.${at}.${body}`).digest("base64");
  return { "webhook-id": "wh_1", "webhook-timestamp": String(at), "webhook-signature": `v1,${signature}` };
}

test("a webhook tells what was signed, whatever its headers and its body are", async () => {
  const headers = signed(HOOK);
  const several = { ...headers, "webhook-signature": `v1a,x v1,AAAA ${headers["webhook-signature"]}` };
  const spelt = Object.fromEntries(Object.entries(headers).map(([name, one]) => [name.toUpperCase(), one]));
  for (const given of [headers, new Headers(headers), several, spelt]) {
    for (const body of [HOOK, Buffer.from(HOOK), new TextEncoder().encode(HOOK)]) {
      assert.deepEqual(await webhooks.verify(body, given, HOOK_SECRET), JSON.parse(HOOK));
    }
  }
});

test("a webhook with one thing changed is refused", async () => {
  const now = Math.floor(Date.now() / 1000);
  const changed: [string, Record<string, string>, string][] = [
    [`${HOOK} `, signed(HOOK), HOOK_SECRET],
    [HOOK, signed(HOOK), `whsec_${"A".repeat(32)}`],
    [HOOK, { ...signed(HOOK), "webhook-id": "wh_2" }, HOOK_SECRET],
    [HOOK, { ...signed(HOOK), "webhook-signature": "" }, HOOK_SECRET],
    [HOOK, { ...signed(HOOK), "webhook-signature": "v1,AAAA" }, HOOK_SECRET],
    [HOOK, { ...signed(HOOK), "webhook-timestamp": "" }, HOOK_SECRET],
    [HOOK, signed(HOOK, now - 302), HOOK_SECRET],
    [HOOK, signed(HOOK, now + 302), HOOK_SECRET],
    [HOOK, { ...signed(HOOK), "webhook-timestamp": "9".repeat(400) }, HOOK_SECRET],
    ...["{}", "no JSON", "null", JSON.stringify({ ...TOLD, data: null }), JSON.stringify({ ...TOLD, timestamp: 1 })]
      .map((body): [string, Record<string, string>, string] => [body, signed(body), HOOK_SECRET]),
  ];
  for (const [body, headers, secret] of changed) {
    await assert.rejects(webhooks.verify(body, headers, secret), InvalidWebhook, body);
  }
});

test("a secret under which anybody could sign is refused, and not shown", async () => {
  for (const secret of ["", "whsec_", "whsec_?", "whsec_AAAA", "whsec_é", `whsec_${"A".repeat(28)}`]) {
    const message = "secret is not an endpoint's secret, whsec_...";
    await assert.rejects(webhooks.verify(HOOK, signed(HOOK, undefined, secret), secret), { message });
  }
});

/** Return a client to which everything is answered alike. */
function answered(shown: unknown, status = 200, headers: Record<string, string> = {}): OtpService {
  const text = typeof shown === "string" ? shown : JSON.stringify(shown);
  const fetch = async (): Promise<Response> => new Response(text, { status, headers });
  return new OtpService("http://service", SECRET, { timeout: 2, retries: 1, fetch });
}

test("an answer about something else is not taken for ours", async () => {
  const { verifications, factors } = answered({ id: "vf_2", status: "approved", valid: true });
  const code = { code: "123456" };
  const calls = [
    () => verifications.get("vf_1"), () => verifications.check("vf_1", code), () => verifications.resend("vf_1"),
    () => verifications.cancel("vf_1"), () => factors.check("fa_1", code), () => factors.activate("fa_1", code),
    () => factors.remove("fa_1", code),
  ];
  for (const call of calls) await assert.rejects(call(), Unavailable);
});

test("whatever a proxy says is an error of ours, and waits for no delay that is none", async () => {
  const delays = ["-1", "1.5", "{}", "true", '"soon"', `1${"0".repeat(400)}`, "null"];
  const bodies = [
    ...delays.map((one) => `{"retry_after": ${one}}`), '{"errors": ["x"], "factors": 7}', '{"errors": [{"a": 1}]}',
    '{"errors": 5}', "[".repeat(100_000), "[[1]]", '{"code": 5, "title": {}, "detail": []}', "null", '"x"', "",
  ];
  for (const body of bodies) {
    for (const status of [400, 401, 429, 503]) {
      const error = await answered(body, status).endpoints.list().catch((thrown: unknown) => thrown);
      assert.ok(error instanceof ApiError, body);
      assert.deepEqual([error.code, error.retry_after], ["", undefined], body);
    }
  }
  for (const asked of ["-1", "1e3", "9".repeat(400), "Wed, 21 Oct 2026 07:28:00 GMT", "soon", "1, 2"]) {
    const error = await answered({}, 503, { "Retry-After": asked }).endpoints.list().catch((thrown: unknown) => thrown);
    assert.ok(error instanceof Unavailable && error.retry_after === undefined, asked);
  }
});

test("what is shown once is not printed, and is there", async () => {
  const proof = "eyJ.secret.proof";
  const right = { id: "vf_1", status: "approved", valid: true, checks_left: 4, reason: null, proof };
  const result = await answered(right).verifications.check("vf_1", { code: "123456" });
  const issued = await answered({ secret: "whsec_x", endpoint: { id: "we_1", url: "https://a" } })
    .endpoints.add({ url: "https://a", types: [] });
  const codes = await answered({ user_id: "u", recovery_codes: ["7K2M"] }).recovery_codes.make({ user: "u" });
  const shown = inspect([result, issued, codes], { depth: 20 });

  for (const secret of [proof, "whsec_x", "7K2M"]) assert.ok(!shown.includes(secret), secret);
  for (const plain of ["approved", "we_1", "https://a"]) assert.ok(shown.includes(plain), plain);
  assert.deepEqual(JSON.parse(JSON.stringify(result)), right);
  assert.deepEqual([issued.secret, codes.recovery_codes], ["whsec_x", ["7K2M"]]);
});

test("a fake is the service in memory", async () => {
  const fake = new FakeOtpService();
  const one = await fake.verifications.start({ to: "+923001234567" }, { idempotency_key: "form-1" });
  assert.deepEqual(await fake.verifications.start({ to: "+923001234567" }, { idempotency_key: "form-1" }), one);
  assert.equal(await fake.sandbox.code_of(one.id), fake.code);
  assert.equal((await fake.verifications.check(one.id, { code: "000000" })).reason, "wrong_code");
  assert.ok((await fake.verifications.check(one.id, { code: fake.code })).valid);
  assert.equal((await fake.verifications.check(one.id, { code: fake.code })).reason, "already_approved");
  fake.fail_with("rate-limited", { retry_after: 30 });
  const limited = await fake.verifications.resend(one.id).catch((thrown: unknown) => thrown);
  assert.ok(limited instanceof RateLimited && limited.retry_after === 30);
  fake.answers["GET /v1/endpoints"] = [];
  assert.deepEqual(await fake.endpoints.list(), []);
  assert.deepEqual(fake.requests[0], ["POST /v1/verifications", { to: "+923001234567" }]);
  assert.throws(() => fake.fail_with("no-such-code"), TypeError);
});

test("a fake knows a number in any spelling", async () => {
  const fake = new FakeOtpService();
  for (const to of ["+923001234567", "03001234567", "0092 300 1234567", "۰۳۰۰۱۲۳۴۵۶۷", "+92 (300) 123-4567"]) {
    const { id } = await fake.verifications.start({ to });
    const wrong = fake.verifications.check(id, { code: fake.code, to: "+923007654321" });
    await assert.rejects(wrong, { code: "number-mismatch" });
    assert.ok((await fake.verifications.check(id, { code: fake.code, to: "0300 1234567" })).valid);
  }
});

test("a fake knows payments and ends", async () => {
  const fake = new FakeOtpService();
  const transaction = { amount: "1500.00", currency: "PKR", payee: "Daraz" };
  const start = async (more = {}): Promise<string> =>
    (await fake.verifications.start({ to: "+923001234567", ...more })).id;
  const [one, other, third] = [await start({ transaction }), await start({ transaction }), await start()];
  assert.ok((await fake.verifications.check(one, { code: fake.code, transaction })).valid);
  assert.equal((await fake.verifications.check(other, { code: fake.code })).reason, "transaction_changed");
  for (const left of [4, 3, 2, 1, 0, 0]) {
    assert.equal((await fake.verifications.check(third, { code: "000000" })).checks_left, left);
  }
  assert.equal((await fake.verifications.check(third, { code: fake.code })).reason, "max_attempts_reached");
  assert.equal((await fake.verifications.cancel(await start())).status, "canceled");
});

test("errors can be told apart by their names", () => {
  const names = ["ConnectionFailed", "TimedOut", "ApiError", "Unauthenticated", "Unavailable"] as const;
  for (const name of names) assert.equal(library[name].name, name);
});
