/** Proofs of approvals, checked without asking the service: docs/proofs.md. */
import { createHash, webcrypto } from "node:crypto";
import { ConnectionFailed, InvalidProof } from "./errors.js";
import type { Claims, Jwk, Transaction } from "./inputs.js";

/** Seconds that keys are kept; between two fetches for an unknown key; and after a failed fetch. */
const KEPT = 300;
const RARELY = 60;
const AGAIN = 1;
const ES256 = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };

/** What a proof has to be about. */
export interface Expected {
  issuer: string;
  application: string;
  purpose: string;
  /**
   * Is asked with the approval's id, and says whether it never was before: in a store that all processes share, for
   * five minutes, such as Redis' `SET id 1 NX EX 300`.
   */
  first_use: (id: string) => boolean | Promise<boolean>;
  /** The verification that your own session started. For a code of an app give `user` instead. */
  verification?: string;
  /** The person of your session. */
  user?: string;
  /** With `user`: what you accept; `["otp"]` by default. Is `recovery` good too? */
  amr?: string[];
  /** The payment that you execute; none for a purpose without one. */
  transaction?: Transaction;
  /** Seconds since the approval; 120 by default. */
  max_age?: number;
}

/**
 * Return the claims of a proof that is good for this session.
 *
 * Rejects with `InvalidProof` for any other, with `ConnectionFailed` when the issuer's keys cannot be fetched, which
 * happens at most once in a minute.
 */
export async function verify(proof: string, expected: Expected): Promise<Claims> {
  const { verification, user, amr = ["otp"], transaction, max_age = 120 } = expected;
  if ((verification === undefined) === (user === undefined)) {
    throw new TypeError("verify needs either verification or user, of your own session");
  }
  const claims = await signed(proof, expected);
  const now = Date.now() / 1000;
  const refuse = (reason: string): never => { throw new InvalidProof(reason); };
  if (claims.iss !== expected.issuer) refuse("it is of another issuer");
  if (claims.aud !== expected.application) refuse("it is for another application");
  if (!(claims.exp > now)) refuse("it has ended");
  if (claims.purpose !== expected.purpose) refuse("it is for another purpose");
  if (verification !== undefined && claims.verification !== verification) refuse("it is of another verification");
  if (user !== undefined && (claims.sub !== user || !accepted(claims.amr, amr))) {
    refuse("it is of another user, or of a factor that is not accepted");
  }
  if (!(claims.auth_time >= now - max_age)) refuse("it was approved too long ago");
  const agreed = transaction && digest(transaction, claims.txn_salt ?? "");
  if (claims.txn_digest !== agreed) refuse("it is of another payment");
  if (typeof claims.jti !== "string" || !(await expected.first_use(claims.jti))) refuse("it was used before");
  return claims;
}

/** Return the claims that a key of the issuer signed. */
async function signed(proof: string, { issuer }: Expected): Promise<Claims> {
  const parts = proof.split(".");
  const [header, claims] = parts.slice(0, 2).map(members);
  const whole = parts.length === 3 && parts.every((part) => /^[A-Za-z0-9_-]+$/.test(part));
  if (!whole || !claims || header?.["typ"] !== "otp-proof+jwt" || header["alg"] !== "ES256" || "crit" in header) {
    throw new InvalidProof("it is not a proof");
  }
  const jwk = await key_of(issuer, String(header["kid"]));
  const key = await webcrypto.subtle.importKey("jwk", jwk, ES256, false, ["verify"]);
  const [text, signature] = [Buffer.from(`${parts[0]}.${parts[1]}`), Buffer.from(parts[2]!, "base64url")];
  const genuine = await webcrypto.subtle.verify(ES256, key, signature, text);
  if (!genuine) throw new InvalidProof("no key of the issuer signed it");
  return claims as unknown as Claims;
}

function accepted(methods: unknown, amr: string[]): boolean {
  return Array.isArray(methods) && methods.length > 0 && methods.every((method) => amr.includes(method as string));
}

function members(part: string): Record<string, unknown> | undefined {
  try {
    const shown: unknown = JSON.parse(Buffer.from(part, "base64url").toString());
    return typeof shown === "object" && shown !== null ? (shown as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** What is held of an issuer: its keys by their ids, and when they were fetched, or could not be, in seconds. */
interface Held {
  keys: Map<string, Jwk>;
  fetched: number;
  failed: number;
  looking?: Promise<void> | undefined;
}

const held_of = new Map<string, Held>();
const seconds = (): number => performance.now() / 1000;

async function key_of(issuer: string, kid: string): Promise<Jwk> {
  const held: Held = held_of.get(issuer) ?? { keys: new Map(), fetched: -Infinity, failed: -Infinity };
  held_of.set(issuer, held);
  const age = seconds() - held.fetched;
  if (age > KEPT || (!held.keys.has(kid) && age > RARELY)) {
    held.looking ??= look(issuer, held).finally(() => { held.looking = undefined; });
    await held.looking; // once for all who ask meanwhile
  }
  const key = held.keys.get(kid);
  if (!key) throw new InvalidProof("no key of the issuer signed it");
  return key;
}

/** Fetch the keys of an issuer. Those that are held stay where that fails. */
async function look(issuer: string, held: Held): Promise<void> {
  if (seconds() - held.failed < AGAIN) {
    throw new ConnectionFailed("the keys of the issuer could not be read a moment ago");
  }
  try {
    const [address, signal] = [`${issuer.replace(/\/+$/, "")}/.well-known/jwks.json`, AbortSignal.timeout(5000)];
    const answer = await fetch(address, { signal, redirect: "error" });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const { keys } = (await answer.json()) as { keys: Jwk[] };
    held.keys = new Map(keys.filter((jwk) => jwk["kty"] === "EC").map((jwk) => [jwk["kid"] ?? "", jwk]));
    held.fetched = seconds();
  } catch (cause) {
    held.failed = seconds();
    throw new ConnectionFailed("the keys of the issuer could not be read", { cause });
  }
}

/** Return the digest of a payment: SHA-256 over the salt and each member with its length before it. */
function digest(transaction: Transaction, salt: string): string {
  const hash = createHash("sha256").update(Buffer.from(salt, "base64url"));
  for (const name of ["amount", "currency", "payee", "account", "reference"] as const) {
    const text = Buffer.from(transaction[name] == null ? "-" : `+${transaction[name]}`);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(text.length);
    hash.update(length).update(text);
  }
  return hash.digest("base64url");
}
