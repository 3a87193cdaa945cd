/**
 * What a call may throw; every error is an `OtpError`, and none has a key, a code, a secret or a number in its text.
 */

/** Anything that goes wrong with the service or with what comes from it. */
export class OtpError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** No connection, or it broke. The request may have been done: repeat it with the same `idempotency_key`. */
export class ConnectionFailed extends OtpError {}

/** No whole answer before the time was over. The request may have been done, as after `ConnectionFailed`. */
export class TimedOut extends OtpError {}

/** What claims to be a webhook was not signed with the secret, or not recently: do not believe it. */
export class InvalidWebhook extends OtpError {}

/** A proof for another purpose or person, too old, used before, or malformed: refuse what it asks for. */
export class InvalidProof extends OtpError {}

/** A member of a body that the service did not take. */
export interface Fault {
  /** JSON pointer (RFC 6901); empty for the body as a whole, the query or a header. */
  pointer: string;
  message: string;
}

/** The service refused. Go by `code`; docs/errors.md says what each means. */
export class ApiError extends OtpError {
  /** Empty where something else than the service answered, such as a proxy. */
  readonly code: string;
  readonly title: string;
  /** For the people who run your back end, not for end users. */
  readonly detail: string;
  /** Seconds after which it may work. */
  readonly retry_after: number | undefined;
  /** Of the rule that refused: log it, for your operator to look up. */
  readonly decision: string | undefined;
  readonly errors: Fault[];
  /** With `factor-first`: the ids of the user's apps. */
  readonly factors: string[];

  /** `request_id` names the request in the service's log. */
  constructor(readonly status: number, problem: Problem, readonly request_id: string | undefined) {
    const [code, title, detail] = [problem["code"], problem["title"], problem["detail"]].map((one) => text(one) ?? "");
    super(`${status} ${code || "answer of another server"}: ${detail || title}`);
    this.code = code!;
    this.title = title!;
    this.detail = detail!;
    this.retry_after = delay_of(problem["retry_after"]);
    this.decision = text(problem["decision"]);
    const faults = list(problem["errors"]).filter((one) => typeof one === "object" && one !== null) as Problem[];
    this.errors = faults.map((one) => ({ pointer: text(one["pointer"]) ?? "", message: text(one["message"]) ?? "" }));
    this.factors = list(problem["factors"]).filter((one): one is string => typeof one === "string");
  }
}

/** A defect of the program: `errors` says where. 400, 405, 413 and 415. */
export class InvalidRequest extends ApiError {}

/** The key is missing, wrong or over. 401. */
export class Unauthenticated extends ApiError {}

/** Not allowed for the application, the key or the number. 403. */
export class Forbidden extends ApiError {}

/** Not found, or no longer there. 404. */
export class NotFound extends ApiError {}

/** Not allowed in the current state: final, used up, or too late. 409. */
export class Conflict extends ApiError {}

/** Well formed, but not acceptable: a number, a code, a purpose. 422. */
export class Refused extends ApiError {}

/** Too often: wait `retry_after` seconds. 429; never repeated by itself. */
export class RateLimited extends ApiError {}

/** The service could not answer, or another server did, such as a proxy. 5xx, or no JSON. */
export class Unavailable extends ApiError {}

const KINDS: Record<number, typeof ApiError> = {
  400: InvalidRequest, 401: Unauthenticated, 403: Forbidden, 404: NotFound, 405: InvalidRequest, 409: Conflict,
  413: InvalidRequest, 415: InvalidRequest, 422: Refused, 429: RateLimited,
};

/** A problem document (RFC 9457). A proxy has one of any form: what is not as the service has it is left out. */
type Problem = Record<string, unknown>;

/** Return whole seconds; nothing for a date, for what is negative or no number, and for more than ten digits. */
export function delay_of(shown: unknown): number | undefined {
  return /^\d{1,10}$/.test(String(shown)) ? Number(shown) : undefined;
}

function text(shown: unknown): string | undefined {
  return typeof shown === "string" ? shown : undefined;
}

function list(shown: unknown): unknown[] {
  return Array.isArray(shown) ? shown : [];
}

/** Return the error of a status. The service has one status for each code, so this is by code too. */
export function error_of(status: number, problem: Problem, request_id: string | undefined): ApiError {
  const other = status >= 400 && status < 500 ? ApiError : Unavailable;
  return new (KINDS[status] ?? other)(status, problem, request_id);
}
