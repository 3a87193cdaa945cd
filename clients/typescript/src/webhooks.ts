/** Webhooks of the service, verified as Standard Webhooks 1.0 says. */
import { webcrypto } from "node:crypto";
import type { Time } from "./inputs.js";
import { InvalidWebhook } from "./errors.js";

/** Seconds that a webhook may be old, or from the future. */
const TOLERANCE = 300;
/** Bytes of a secret, at least (Standard Webhooks). */
const SECRET_BYTES = 24;

/** An event of the service. */
export interface Event {
  /** Such as `verification.approved`; pass over types that you do not know. */
  type: string;
  timestamp: Time;
  /** `id`, by which repetitions are known, `sequence`, `application`, and what goes with the type. */
  data: Record<string, unknown>;
}

/** Headers as `fetch`, or as Node and Express have them. */
export type HeadersLike = { get(name: string): string | null } | Record<string, string | string[] | undefined>;

/**
 * Return the event of a webhook, if it was signed with the secret (`whsec_...`) in the last five minutes.
 *
 * `body` is the body as it came, not parsed and written again; `headers` are those of the request. Rejects with
 * `InvalidWebhook` for any other, with a `TypeError` for a malformed secret.
 */
export async function verify(body: string | Uint8Array, headers: HeadersLike, secret: string): Promise<Event> {
  const [id, sent, signatures] = ["id", "timestamp", "signature"].map((name) => header(headers, `webhook-${name}`));
  if (!/^\d+$/.test(sent!) || Math.abs(Date.now() / 1000 - Number(sent)) > TOLERANCE) {
    throw new InvalidWebhook("it is too old, from the future, or does not say when it was sent");
  }
  const bytes = Buffer.from(body as Uint8Array); // of a string too
  const signed = Buffer.concat([Buffer.from(`${id}.${sent}.`), bytes]);
  const hmac = { name: "HMAC", hash: "SHA-256" };
  const key = await webcrypto.subtle.importKey("raw", key_of(secret), hmac, false, ["verify"]);
  const results = await Promise.all(
    signatures!.split(" ").filter((signature) => signature.startsWith("v1,"))
      .map((signature) => webcrypto.subtle.verify("HMAC", key, Buffer.from(signature.slice(3), "base64"), signed)),
  );
  if (!results.includes(true)) throw new InvalidWebhook("no signature is the secret's");
  const event = event_in(bytes.toString());
  if (!event) throw new InvalidWebhook("it was signed, but is no webhook of the service");
  return event;
}

function event_in(text: string): Event | undefined {
  try {
    const event = JSON.parse(text) as Event | null;
    const whole = typeof event?.type === "string" && typeof event.timestamp === "string";
    return whole && typeof event.data === "object" && event.data !== null ? event : undefined;
  } catch {
    return undefined;
  }
}

function header(headers: HeadersLike, name: string): string {
  const value = typeof headers.get === "function"
    ? headers.get(name)
    : Object.entries(headers).find(([key]) => key.toLowerCase() === name)?.[1]; // gateways keep the sender's spelling
  return typeof value === "string" ? value : "";
}

function key_of(secret: string): Buffer {
  const text = secret.replace(/^whsec_/, "");
  const key = Buffer.from(/^[A-Za-z0-9+/]+=*$/.test(text) ? text : "", "base64");
  if (key.length < SECRET_BYTES) throw new TypeError("secret is not an endpoint's secret, whsec_...");
  return key;
}
