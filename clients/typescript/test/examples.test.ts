/** The examples, with a fake in the service's place; the plain script with a real one. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { realpathSync } from "node:fs";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { FakeOtpService } from "otp-service-client/testing";
import { application } from "../examples/express.js";
import { POST, PUT, service } from "../examples/next-route.js";

const { SERVICE = "", KEY = "", INSTALLED = "" } = process.env;

test("they use the package that was installed", () => {
  const used = createRequire(import.meta.url).resolve("otp-service-client");
  if (INSTALLED) assert.ok(realpathSync(used).startsWith(realpathSync(INSTALLED)), used);
});

/** Send JSON with a person's cookie; return status, body and cookie. */
async function send(
  act: (init: RequestInit) => Promise<Response>,
  method: string,
  body: object,
  cookie = "",
): Promise<[number, any, string]> {
  const headers = { "Content-Type": "application/json", cookie };
  const answer = await act({ method, headers, body: JSON.stringify(body) });
  const given = (answer.headers.get("set-cookie") ?? cookie).split(";")[0]!;
  return [answer.status, await answer.json(), given];
}

test("Express lets in who typed the code", async () => {
  const fake = new FakeOtpService();
  const server = application(fake).listen(0);
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const at = (path: string) => (init: RequestInit) => fetch(url + path, init);
  try {
    assert.equal((await send(at("/check"), "POST", { code: "123456" }))[0], 400);
    const [status, started, cookie] = await send(at("/start"), "POST", { phone: "0300 1234567" });
    assert.deepEqual([status, started], [200, { sent_to: "••••567" }]);
    const wrong = await send(at("/check"), "POST", { code: "000000" }, cookie);
    assert.deepEqual(wrong.slice(0, 2), [403, { reason: "wrong_code", checks_left: 4 }]);
    const right = await send(at("/check"), "POST", { code: "123456", phone: "+923007654321" }, cookie);
    assert.deepEqual(right.slice(0, 2), [200, { welcome: "+923001234567" }]);
    fake.fail_with("rate-limited");
    assert.equal((await send(at("/start"), "POST", { phone: "+923001234567" }))[1].code, "rate-limited");
  } finally {
    server.close();
    server.closeAllConnections();
  }
});

test("route handlers of Next let in who typed the code", async () => {
  const fake = service(new FakeOtpService()) as FakeOtpService;
  const with_ = (handler: (request: Request) => Promise<Response>) => (init: RequestInit) =>
    handler(new Request("http://shop/api/login", init));
  assert.equal((await send(with_(PUT), "PUT", { code: "123456" }))[0], 400);
  const [status, started, cookie] = await send(with_(POST), "POST", { phone: "0300 1234567" });
  assert.deepEqual([status, started], [200, { sent_to: "••••567" }]);
  const wrong = await send(with_(PUT), "PUT", { code: "000000" }, cookie);
  assert.deepEqual(wrong.slice(0, 2), [403, { reason: "wrong_code", checks_left: 4 }]);
  const right = await send(with_(PUT), "PUT", { code: "123456", phone: "+923007654321" }, cookie);
  assert.deepEqual(right.slice(0, 2), [200, { welcome: "+923001234567" }]);
  fake.fail_with("rate-limited");
  assert.equal((await send(with_(POST), "POST", { phone: "+923001234567" }))[1].code, "rate-limited");
});

test("the plain script starts and checks", () => {
  const script = fileURLToPath(new URL("../examples/script.js", import.meta.url));
  const env = { ...process.env, OTP_URL: SERVICE, OTP_KEY: KEY };
  const told = execFileSync(process.execPath, [script, "+923021234567"], { env, encoding: "utf8" });
  assert.match(told, /^sent to .*\nwelcome\n$/);
});
