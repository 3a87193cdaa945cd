/**
 * The service in memory, for tests of your own program: no network, no waiting, codes that are known.
 *
 * It knows verifications and the sandbox. What else you call, you answer yourself:
 * `fake.answers["GET /v1/endpoints"] = []`.
 */
import { OtpService } from "./client.js";

/** The codes of errors that `fail_with` takes, by their status. */
export const STATUSES: Record<number, string> = {
  400: "invalid-request",
  401: "unauthenticated",
  403: "forbidden step-up-required recipient-suppressed recipient-frozen",
  404: "not-found",
  405: "method-not-allowed",
  409: "conflict already-redeemed factor-first factor-not-active factor-limit no-sends-left name-taken endpoint-limit",
  413: "body-too-large",
  415: "unsupported-media-type",
  422: "invalid-number number-type-not-allowed country-not-allowed number-not-allowed channel-not-available " +
    "invalid-proof return-url-not-allowed invalid-result invalid-time invalid-transaction invalid-code " +
    "number-mismatch invalid-secret client-ip-required consent-required consent-outdated consent-not-kept " +
    "message-not-allowed invalid-application invalid-url idempotency-mismatch",
  429: "human-check-required rate-limited resend-too-soon",
  500: "internal",
  503: "store-unavailable ledger-mismatch ledger-unavailable overloaded service-unavailable backlog-full",
};
const AT = "2026-11-24T22:00:00Z";
const FINAL = ["approved", "canceled", "failed", "max_attempts_reached"];
type Json = Record<string, any>;
type Answered = [status: number, shown: unknown];

/** An `OtpService` that needs none. It repeats nothing, so that one `fail_with` is one error. */
export class FakeOtpService extends OtpService {
  /** Answers to other calls, by method and path. */
  readonly answers: Record<string, unknown> = {};
  /** The requests: method and path, and the body. */
  readonly requests: [string, Json][] = [];
  readonly #failures: Json[] = [];
  readonly #verifications = new Map<string, Json>();
  readonly #numbers = new Map<string, string>();
  readonly #done = new Map<string, Answered>();
  /** The right code of every verification. */
  readonly code: string;

  constructor(options: { code?: string } = {}) {
    const fetch = async (url: unknown, init?: RequestInit): Promise<Response> =>
      this.#answer(new URL(String(url)), init ?? {});
    super("http://fake", "fake", { retries: 0, fetch });
    this.code = options.code ?? "123456";
  }

  /** Let the next calls be refused with a code of docs/errors.md; throws a `TypeError` for another. */
  fail_with(code: string, options: { times?: number; retry_after?: number } = {}): void {
    const status = Object.keys(STATUSES).find((status) => STATUSES[Number(status)]!.split(" ").includes(code));
    if (!status) throw new TypeError("unknown code of an error");
    const { retry_after } = options;
    const failure = { ...problem(Number(status), code), ...(retry_after === undefined ? {} : { retry_after }) };
    for (let left = options.times ?? 1; left > 0; left -= 1) this.#failures.push(failure);
  }

  #answer(url: URL, init: RequestInit): Response {
    const operation = `${init.method} ${url.pathname}`;
    const body = JSON.parse(String(init.body ?? "{}")) as Json;
    this.requests.push([operation, body]);
    const failure = this.#failures.shift();
    const key = new Headers(init.headers).get("Idempotency-Key");
    const [status, shown]: Answered = failure
      ? [failure["status"] as number, failure]
      : this.#done.get(key ?? "") ?? this.#do(operation, body, url);
    if (key && status < 300) this.#done.set(key, [status, shown]);
    return new Response(JSON.stringify(shown), { status });
  }

  #do(operation: string, body: Json, url: URL): Answered {
    if (operation in this.answers) return [200, this.answers[operation]];
    if (operation === "POST /v1/verifications") return this.#start(body);
    if (operation === "GET /v1/sandbox/messages") {
      const id = url.searchParams.get("verification");
      const newest = [...this.#verifications.values()].reverse();
      const shown = newest.filter((verification) => !id || verification["id"] === id);
      return [200, shown.map((verification) => this.#caught(verification))];
    }
    const [, id = "", act = ""] = / \/v1\/verifications\/(\w+)\/?(\w*)$/.exec(operation) ?? [];
    const verification = this.#verifications.get(id);
    if (!verification) {
      return [404, problem(404, "not-found", `The fake has nothing for ${operation}: see its answers.`)];
    }
    if (act === "check") return this.#check(verification, body);
    if (act === "") return [200, { ...verification }];
    if (FINAL.includes(verification["status"])) return [409, problem(409, "conflict")];
    if (act === "cancel") verification["status"] = "canceled";
    else if (verification["sends_left"] === 0) return [409, problem(409, "no-sends-left")];
    else verification["sends_left"] -= 1;
    return [200, { ...verification }];
  }

  #start(body: Json): Answered {
    const delivery = {
      channel: "sms", gateway: "fake", status: "sent", at: AT, reason: null, message: 1, choice: "configured",
      begun_at: AT, raw_status: null,
    };
    const verification: Json = {
      id: `vf_fake_${this.#verifications.size + 1}`, status: "pending", to: `••••${String(body["to"]).slice(-3)}`,
      country: "PK", channel: "sms", purpose: body["purpose"] ?? "login", locale: "en", created_at: AT, expires_at: AT,
      checks_left: 5, sends_left: 2, resend_after: AT, metadata: body["metadata"] ?? {}, user: body["user"] ?? null,
      transaction: whole(body["transaction"]), page: null, deliveries: [delivery],
    };
    this.#verifications.set(verification["id"], verification);
    const destination = plain(body["to"]);
    this.#numbers.set(verification["id"], destination);
    return [201, { ...verification, destination, client_token: null }];
  }

  #check(verification: Json, body: Json): Answered {
    const { to } = body;
    if (typeof to === "string" && plain(to) !== this.#numbers.get(verification["id"])) {
      return [422, problem(422, "number-mismatch")];
    }
    const was = verification["status"] as string;
    let reason = was === "pending" ? null : was === "approved" ? "already_approved" : was;
    if (reason === null && JSON.stringify(whole(body["transaction"])) !== JSON.stringify(verification["transaction"])) {
      verification["status"] = "failed";
      reason = "transaction_changed";
    } else if (reason === null && body["code"] === this.code) {
      verification["status"] = "approved";
    } else if (reason === null) {
      verification["checks_left"] -= 1;
      reason = "wrong_code";
    }
    if (verification["status"] === "pending" && verification["checks_left"] === 0) {
      verification["status"] = "max_attempts_reached";
    }
    const { id, status, checks_left } = verification;
    return [200, { id, status, checks_left, valid: reason === null, reason, proof: null }];
  }

  #caught({ id, to, channel }: Json): Json {
    return { verification: id, to, channel, sender: null, at: AT, text: `Your code is ${this.code}.` };
  }
}

/** Return a number in E.164, as the service would: of Pakistan where it is spelled without its country. */
function plain(spelling: string): string {
  const ascii = spelling.normalize("NFKC").replace(/[٠-٩۰-۹]/g, (digit) => String(digit.charCodeAt(0) & 15));
  const digits = ascii.replace(/\D/g, "");
  if (ascii.startsWith("+")) return `+${digits}`;
  return digits.startsWith("00") ? `+${digits.slice(2)}` : `+92${digits.replace(/^0/, "")}`;
}

function whole(transaction: Json | null | undefined): Json | null {
  if (!transaction) return null;
  const { amount, currency, payee, account = null, reference = null } = transaction;
  return { amount, currency, payee, account, reference };
}

function problem(status: number, code: string, detail = "As the test asked."): Json {
  return { type: `/problems/${code}`, title: code, status, detail, code };
}
