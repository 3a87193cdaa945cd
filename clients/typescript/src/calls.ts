/** What a call is, and how it is repeated. */
import { randomUUID } from "node:crypto";
import { inspect } from "node:util";
import { ConnectionFailed, OtpError, TimedOut, Unavailable, delay_of, error_of } from "./errors.js";

/** Seconds before the first repetition, at most; each further one may wait twice as long. */
const FIRST_WAIT = 0.5;
const LONGEST_WAIT = 5;
/** Connections at once; further calls wait for their turn. */
const CONNECTIONS = 100;
/** Seconds that one try may take: of calls that ask Redis, which gives up at 1.5 s ... */
export const FAST = 5;
/** ... and of those that ask a database. */
export const SLOW = 10;

/** Errors after which a call is repeated. */
const REPEATED = [ConnectionFailed, TimedOut, Unavailable];

/** The rest of a request, beside method and path. */
export interface Sent {
  body?: object;
  query?: object;
  /** The `Idempotency-Key`, of operations that take one: the same in all tries. */
  key?: string;
  /** Whether a second try could do it twice, as it takes no key: then there is none. */
  once?: boolean;
  /** Seconds that one try may take. */
  seconds?: number;
  /** A member that has to be true or false: JSON of something else must not be taken for a right code. */
  says?: string;
  /** The `id` that the answer must have: an answer to another request must not be taken for this one's. */
  expected_id?: string;
}

/** Makes a call such as `GET /v1/endpoints`; throws `OtpError`. */
export type Caller = <T>(request: string, sent?: Sent) => Promise<T>;

/** How an `OtpService` calls. */
export interface Options {
  /** Seconds for one call with all its tries; 10 by default. */
  timeout?: number;
  /** How often a call is repeated after no answer, a time-out or 5xx; 2 by default. */
  retries?: number;
  /** Replaces the global `fetch`. */
  fetch?: typeof fetch;
}

/** Return what makes calls. Nothing that is printed has the key. */
export function caller(url: string, key: string, options: Options): Caller {
  const [base, secret] = [address(url), visible(key)];
  const { timeout = 10, retries = 2, fetch = globalThis.fetch } = options;
  if (!(timeout > 0 && timeout <= 600)) throw new RangeError("timeout is in seconds, at most 600");
  if (!(Number.isInteger(retries) && retries >= 0)) throw new RangeError("retries is a whole number, 0 or more");
  const turn = turns(CONNECTIONS);

  /** Try once, within the seconds of the call and those that are left. */
  async function send<T>(request: string, sent: Sent, left: number): Promise<T> {
    const began = performance.now();
    const done = await turn(left);
    try {
      return await ask<T>(request, sent, Math.min(sent.seconds ?? SLOW, left - (performance.now() - began) / 1000));
    } finally {
      done();
    }
  }

  async function ask<T>(request: string, sent: Sent, seconds: number): Promise<T> {
    const [method = "", path = ""] = request.split(" ");
    const headers: Record<string, string> = { Authorization: `Bearer ${secret}`, Accept: "application/json" };
    if (sent.body) headers["Content-Type"] = "application/json";
    if (sent.key !== undefined) headers["Idempotency-Key"] = sent.key;
    const body = sent.body ? { body: JSON.stringify(sent.body) } : {};
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), seconds * 1000);
    try {
      const address = base + path + query_of(sent.query);
      const response = await fetch(address, { method, headers, ...body, signal: stop.signal, redirect: "manual" });
      return read<T>(response, await response.text(), sent);
    } catch (cause) {
      if (cause instanceof OtpError) throw cause;
      if (stop.signal.aborted) throw new TimedOut("no answer in time");
      throw new ConnectionFailed("no connection to the service, or it broke", { cause });
    } finally {
      clearTimeout(timer);
    }
  }

  /** Call as often as it takes, within one deadline over all tries and the waits between them. */
  return async <T>(request: string, sent: Sent = {}): Promise<T> => {
    const deadline = performance.now() / 1000 + timeout;
    const tries = sent.once ? 1 : 1 + retries;
    for (let number = 1; ; number += 1) {
      try {
        return await send<T>(request, sent, deadline - performance.now() / 1000);
      } catch (failed) {
        if (!REPEATED.some((kind) => failed instanceof kind)) throw failed;
        const delay = failed instanceof Unavailable ? failed.retry_after : undefined;
        const wait = delay ?? Math.random() * Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** (number - 1));
        if (number === tries || performance.now() / 1000 + wait >= deadline) throw failed;
        await sleep(wait);
      }
    }
  };
}

/** Return what waits for one of so many places, at most some seconds, and gives back what ends its use. */
function turns(places: number): (seconds: number) => Promise<() => void> {
  const waiting = new Set<() => void>();
  const done = (): void => {
    const [next] = waiting;
    if (next) next();
    else places += 1;
  };
  return (seconds) => new Promise((resolve, reject) => {
    if (places > 0) {
      places -= 1;
      return resolve(done);
    }
    const go = (): void => {
      clearTimeout(timer);
      waiting.delete(go);
      resolve(done);
    };
    const timer = setTimeout(() => {
      waiting.delete(go);
      reject(new TimedOut("no answer in time"));
    }, seconds * 1000);
    waiting.add(go);
  });
}

/** Let seconds pass. */
export function sleep(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}

/**
 * Return an idempotency key: the caller's own, or a new random one. Throw a `TypeError` for a malformed one, which must
 * neither change the request nor go unnoticed.
 */
export function key_of({ idempotency_key: own }: { idempotency_key?: string }): string {
  if (own === undefined) return randomUUID();
  if (typeof own !== "string" || !/^[!-+\--~]{1,255}$/.test(own)) {
    throw new TypeError("an idempotency_key has 1 to 255 visible ASCII characters, no comma");
  }
  return own;
}

/** Return an id or a name as a part of a path; throw a `TypeError` where it cannot be one. */
export function part(text: string): string {
  if (typeof text !== "string" || !/^[A-Za-z0-9_-]+$/.test(text)) {
    throw new TypeError("an id of the service has letters, digits, _ and - only");
  }
  return text;
}

/** Return the answer's object; throw `ApiError` for a refusal, and for an answer of another server. */
function read<T>(response: Response, text: string, sent: Sent): T {
  const shown = parsed(text);
  if (response.ok && shown && is_ours(shown, sent)) return shown as T;
  const document = !response.ok && shown ? shown : { title: "an answer that is not the service's" };
  const delay = delay_of(response.headers.get("Retry-After"));
  const problem = delay === undefined ? document : { ...document, retry_after: delay };
  throw error_of(response.status, problem, response.headers.get("X-Request-Id") ?? undefined);
}

function is_ours(shown: Record<string, unknown>, { says, expected_id }: Sent): boolean {
  if (expected_id !== undefined && shown["id"] !== expected_id) return false;
  return says === undefined || typeof shown[says] === "boolean";
}

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const shown: unknown = JSON.parse(text, (_, value: unknown) => veiled(value));
    return typeof shown === "object" && shown !== null ? (shown as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Members that are secret or personal. */
const HIDDEN = new Set([
  "client_token", "destination", "label", "metadata", "page", "proof", "qr", "recovery_codes", "replacement", "secret",
  "text", "uri", "user",
]);

/** Let an object be printed without what is hidden; its members, and its JSON, are as they were. */
function veiled(value: unknown): unknown {
  return typeof value !== "object" || value === null || Array.isArray(value)
    ? value
    : Object.defineProperty(value, inspect.custom, { value: printed });
}

function printed(this: object): object {
  const printable = ([name, value]: [string, unknown]) => [name, HIDDEN.has(name) && value !== null ? "..." : value];
  return Object.fromEntries(Object.entries(this).map(printable)) as object;
}

function query_of(members: object = {}): string {
  const present = Object.entries(members).filter(([, value]) => value !== undefined && value !== null);
  const query = new URLSearchParams(present.map(([name, value]): [string, string] => [name, String(value)])).toString();
  return query && `?${query}`;
}

function address(url: string): string {
  const { protocol, username, password, search, hash } = new URL(url);
  if (!/^https?:$/.test(protocol) || username || password || search || hash) {
    throw new TypeError("url is no address of a service, such as https://otp.example");
  }
  return url.replace(/\/+$/, "");
}

/** Return a key as a header takes it. One that cannot go is noticed here: errors of later would show it. */
function visible(key: string): string {
  const secret = key.trim(); // of a file
  if (!/^[!-~]+$/.test(secret)) throw new TypeError("key is no API key");
  return secret;
}
