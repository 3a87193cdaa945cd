/** What calls take, as on the wire: members in snake case, times in RFC 3339, UTC. */


/** RFC 3339 in UTC, such as `2026-11-24T22:00:00Z`. */
export type Time = string;

/** A payment that a person agrees to; take it from your own books for the start and for the check. */
export interface Transaction {
  /** Decimal, such as `"1500.00"`. */
  amount: string;
  /** ISO 4217. */
  currency: string;
  payee: string;
  /** The last four digits of the payer's own account. */
  account?: string | null;
  reference?: string | null;
}

/** A consent to messages, with the text that was shown. */
export interface Consent {
  text_version: string;
  /** SHA-256 of the words in UTF-8, in lower-case hexadecimal digits. */
  text_sha256: string;
  locale: string;
  channel: string;
  given_at: Time;
  source: string;
}

/** How a message goes out. */
export type Channel = "sms" | "voice" | "whatsapp" | "telegram";

/** Which number. */
export interface ToNumber {
  to: string;
  region?: string | null;
}

/** Which number and purpose. */
export interface ToPurpose extends ToNumber {
  purpose?: string;
}

/** A number to send a code to. */
export interface Start extends ToPurpose {
  /** The person's address, not your server's. */
  client_ip?: string | null;
  /** Your own name of the person's device or browser. */
  context?: string | null;
  user?: string | null;
  channel?: Channel | null;
  locale?: string | null;
  transaction?: Transaction | null;
  consent?: Consent | null;
  human_check?: { passed?: boolean; token?: string } | null;
  metadata?: Record<string, string> | null;
  after?: string | null;
  client_token?: { allow: ("read" | "check" | "resend")[]; origin?: string | null } | null;
  page?: { return_url: string } | null;
}

/** What a proof states; the times are seconds since 1970. */
export interface Claims {
  iss: string;
  aud: string;
  sub?: string;
  jti: string;
  verification?: string;
  factor?: string;
  iat: number;
  auth_time: number;
  exp: number;
  amr: string[];
  acr?: string;
  purpose: string;
  txn_salt?: string;
  txn_digest?: string;
}

/** A public key (RFC 7517). */
export type Jwk = Record<string, string>;
