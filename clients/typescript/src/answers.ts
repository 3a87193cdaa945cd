/** What calls take and return, as on the wire: members in snake case, times in RFC 3339, UTC. */

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

/** That a person agreed to messages, and to which words. */
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

/** Whom to send a code, and what for. */
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

/** One call to one gateway, or a message that waits for its first. */
export interface Delivery {
  channel: string;
  gateway: string | null;
  /** `queued`, `sent`, `delivered`, `undelivered`, `failed`, `expired` or `unknown`. */
  status: string;
  at: Time;
  reason: string | null;
  message: number;
  choice: string | null;
  begun_at: Time;
  raw_status: string | null;
}

/** One attempt to prove that a person holds a number. A `status` that was read is no proof: only a check is. */
export interface Verification {
  /** Keep it in the person's session. */
  id: string;
  /**
   * `pending`, `approved`, or for good `canceled`, `expired`, `failed` or `max_attempts_reached`. What was approved
   * reads as `canceled` once the number or the user is frozen or erased.
   */
  status: string;
  /** The number, masked. */
  to: string;
  country: string;
  channel: string;
  purpose: string;
  locale: string;
  created_at: Time;
  expires_at: Time;
  checks_left: number;
  sends_left: number;
  /** Null when no message is left. */
  resend_after: Time | null;
  transaction: Transaction | null;
  metadata: Record<string, string>;
  user: string | null;
  /** Send this person's browser to its `url`, and nobody else's. */
  page: { url: string } | null;
  deliveries: Delivery[];
}

export interface StartedVerification extends Verification {
  /** The number in E.164, the same for every spelling: name accounts by it. Keep it in the session, beside the id. */
  destination: string;
  client_token?: string | null;
}

/** What became of a code. An object is always true: take `valid` out of it where you check. */
export interface CheckResult {
  id: string;
  status: string;
  valid: boolean;
  checks_left: number;
  /**
   * `wrong_code`, `expired`, `already_approved`, `canceled`, `max_attempts_reached`, `number_locked`,
   * `transaction_changed`, `failed`, `revoked`; null when the code is valid.
   */
  reason: string | null;
  proof: string | null;
}

/** A message that the sandbox caught instead of sending it. */
export interface CaughtMessage {
  verification: string;
  to: string;
  channel: string;
  sender: string | null;
  text: string;
  at: Time;
}

/** What came of a page: believe it if `id` is the verification of this session, and `status` is `approved`. */
export interface PageResult {
  id: string;
  status: string;
  proof: string | null;
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

/** A key that signs proofs, or once did. */
export interface ProofKey {
  key: Jwk;
  first_used_at: Time;
  retired_at: Time | null;
}

/** An authenticator app. */
export interface Factor {
  id: string;
  type: string;
  status: string;
  label: string | null;
  algorithm: string;
  digits: number;
  /** Seconds that a code lasts. */
  period: number;
  created_at: Time | null;
  used_at: Time | null;
  removed_at: Time | null;
}

/** An app that waits for its first code, with what is shown once. Keep none of it. */
export interface Enrolment {
  factor: Factor;
  secret: string | null;
  uri: string | null;
  qr: string | null;
}

/** What became of a code of an app. Let the person in only when `valid` is true. */
export interface FactorCheckResult {
  id: string;
  status: string;
  valid: boolean;
  /** `wrong_code`, `code_used`, `factor_locked` or `revoked`; null when the code is valid. */
  reason: string | null;
  proof: string | null;
}

export interface ActivationResult extends FactorCheckResult {
  /** Shown once. */
  recovery_codes: string[] | null;
}

/** What a user has. */
export interface UserFactors {
  user_id: string;
  factors: Factor[];
  recovery_codes_left: number;
}

/** A new series, shown once. */
export interface RecoveryCodes {
  user_id: string;
  recovery_codes: string[];
}

/** What became of a recovery code. Let the person in only when `valid` is true. */
export interface RecoveryCheckResult {
  valid: boolean;
  reason: string | null;
  left: number;
  /** A new code for the one that was used, shown once. */
  replacement: string | null;
  proof: string | null;
}

/** A consent, or its withdrawal. */
export interface ConsentEntry {
  status: string;
  purpose: string;
  recorded_at: Time;
  text_version?: string | null;
  text_sha256?: string | null;
  locale?: string | null;
  channel?: string | null;
  given_at?: Time | null;
  source?: string | null;
  address_prefix?: string | null;
}

/** What is recorded of a number's consent to a purpose. */
export interface ConsentRecord {
  to: string;
  purpose: string;
  /** `given`, `withdrawn` or `none`. */
  status: string;
  entries: ConsentEntry[];
}

/** That a number gets no messages, or gets them again. */
export interface Suppression {
  scope: string;
  lifted: boolean;
  source: string;
  everywhere: boolean;
  reason: string | null;
  until: Time | null;
  recorded_at: Time;
}

/** What is recorded of the messages that a number is not to get. */
export interface SuppressionRecord {
  to: string;
  suppressed: boolean;
  frozen: boolean;
  entries: Suppression[];
}

/** How a number stands. */
export interface Freeze {
  to: string;
  frozen: boolean;
  everywhere: boolean;
  since: Time | null;
  reason: string | null;
  /** Verifications that this call ended. */
  ended: string[];
}

/** What an erasure did. */
export interface Erasure {
  at: Time;
  erased: Record<string, number>;
  kept: Record<string, number>;
  reason: string;
}

/** A verification as the ledger keeps it. */
export interface RecordedVerification {
  id: string;
  purpose: string;
  country: string;
  started_at: Time;
  expires_at: Time | null;
  channel: string | null;
  carrier_range: string | null;
  lane: string | null;
  status: string;
  ended_at: Time | null;
  events: Record<string, unknown>[];
}

/** A webhook that the application was sent, and what became of it at each endpoint. */
export interface ToldWebhook {
  id: string;
  verification: string | null;
  type: string;
  at: Time;
  details: Record<string, unknown>;
  deliveries: { endpoint: string; sequence: number; status: string; tries: Record<string, unknown>[] }[];
}

/** What limits count at the application, and what it knows. */
export interface Counters {
  approved_at: Time | null;
  devices: Time[];
  messages: Time[];
  wrong_codes: Time[];
  locked_until: Time | null;
}

/** All that is held of a number. */
export interface SubjectExport {
  to: string;
  verifications: RecordedVerification[];
  consents: ConsentEntry[];
  suppressions: Suppression[];
  inbound: { gateway: string; meaning: string; received_at: Time }[];
  erasures: Erasure[];
  webhooks: ToldWebhook[];
  looks: { at: Time; by: string; view: string; reason: string | null }[];
  second_person_requests: {
    at: Time;
    by: string;
    act: string;
    reason: string | null;
    decided_at: Time | null;
    decided_by: string | null;
    outcome: string | null;
  }[];
  inbox: { gateway: string; text: string; received_at: Time }[];
  refusals: {
    at: Time;
    rule: string;
    mode: string;
    kind: string;
    purpose: string;
    country: string;
    verification: string | null;
  }[];
  counters: Counters | null;
  recent: string[];
}

/** How a user stands. */
export interface UserFreeze {
  frozen: boolean;
  since: Time | null;
  /** Verifications that this call ended. */
  ended: string[];
}

/** All that is held of a user. */
export interface UserExport {
  factors: Factor[];
  factor_changes: { factor: string; change: string; reason: string | null; at: Time }[];
  recovery_codes: { made_at: Time; ended_at: Time | null; used: boolean }[];
  suppressions: Suppression[];
  webhooks: ToldWebhook[];
  events: Record<string, unknown>[];
  counters: Counters | null;
  erasures: Erasure[];
  recent: string[];
}

/** Where an application is told what happens. */
export interface Endpoint {
  id: string;
  url: string;
  types: string[];
  /** `enabled`, `disabled`, `failing` or `gone`. */
  status: string;
  failing_since: Time | null;
  created_at: Time;
  rotates_until: Time | null;
}

/** An endpoint with a new secret, shown once. */
export interface IssuedEndpoint {
  secret: string;
  endpoint: Endpoint;
}

/** What became of a webhook at an endpoint. */
export interface Webhook {
  id: string;
  type: string;
  verification: string | null;
  endpoint: string;
  sequence: number;
  at: Time;
  /** `waiting`, `delivered`, `failed` or `held`. */
  status: string;
  next_try_at: Time | null;
  tries: { at: Time; milliseconds: number; status: number | null; reason: string | null }[];
}

/** What became of verifications, by the hour in which they started. What `by` does not name is `null`. */
export interface VerificationStatsRow {
  hour: Time | null;
  day: Time | null;
  purpose: string | null;
  country: string | null;
  carrier_range: string | null;
  channel: string | null;
  lane: string | null;
  started: number;
  approved: number;
  canceled: number;
  max_attempts_reached: number;
  failed: number;
  /** Those that nobody ended; while the row is unfinished some are pending. */
  expired: number;
  unapproved: number;
  sent: number | null;
  delivered: number | null;
  amount: string;
  estimated_unapproved_amount: string;
  unfinished: boolean;
}

/** Verifications, counted. */
export interface VerificationStats {
  currency: string;
  rows: VerificationStatsRow[];
}

/** What became of messages, by the hour in which their verifications started. */
export interface MessageStatsRow {
  hour: Time | null;
  day: Time | null;
  purpose: string | null;
  country: string | null;
  channel: string | null;
  gateway: string | null;
  reason: string | null;
  sent: number;
  delivered: number;
  undelivered: number;
  failed: number;
  expired: number;
  unknown: number;
  failed_over: number;
  given_up: number;
  amount: string;
  unfinished: boolean;
}

/** Messages, counted. */
export interface MessageStats {
  currency: string;
  rows: MessageStatsRow[];
}

/** What rules refused, by kind. */
export interface RefusalStatsRow {
  hour: Time | null;
  day: Time | null;
  purpose: string | null;
  country: string | null;
  carrier_range: string | null;
  lane: string | null;
  rule: string | null;
  refused: Record<string, number>;
  would_be_refused: Record<string, number>;
  unfinished: boolean;
}

/** Refusals, counted. */
export interface RefusalStats {
  rows: RefusalStatsRow[];
}

/** How long it took from the start of verifications. */
export interface DelayStatsRow {
  hour: Time | null;
  day: Time | null;
  country: string | null;
  channel: string | null;
  gateway: string | null;
  /** `sent`, `delivered` or `approved`. */
  until: string;
  times: number;
  within: { at_most_ms: number; times: number }[];
  p50_ms: number | null;
  p95_ms: number | null;
  unfinished: boolean;
}

/** Delays, counted. */
export interface DelayStats {
  rows: DelayStatsRow[];
}

/** An application, and what it may do. */
export interface Application {
  name: string;
  source: string;
  settings: Record<string, unknown>;
  created_at: Time | null;
  changed_at: Time | null;
}

/** What is known of an API key. */
export interface ApiKey {
  id: string;
  application: string;
  scopes: string[];
  addresses: string[];
  created_at: Time;
  expires_at: Time | null;
  revoked_at: Time | null;
  last_used_at: Time | null;
}

/** A new key, shown once. */
export interface IssuedKey {
  secret: string;
  key: ApiKey;
}
