/** What a call may throw; every error is an `OtpError`, and none has a key, a code, a secret or a number in its text. */

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

/** What claims to be a webhook was not signed with the secret, or not lately: do not believe it. */
export class InvalidWebhook extends OtpError {}

/** A proof of something else, of somebody else, too old, used before, or none at all: refuse what it asks for. */
export class InvalidProof extends OtpError {}

/** The service's problem document (RFC 9457). */
export interface Problem {
  code?: string;
  title?: string;
  detail?: string;
  retry_after?: number;
  decision?: string;
  errors?: Fault[];
  factors?: string[];
}

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
    super(`${status} ${problem.code || "answer of another server"}: ${problem.detail || problem.title || ""}`);
    this.code = problem.code ?? "";
    this.title = problem.title ?? "";
    this.detail = problem.detail ?? "";
    this.retry_after = problem.retry_after;
    this.decision = problem.decision;
    this.errors = problem.errors ?? [];
    this.factors = problem.factors ?? [];
  }
}

/** A defect of the program: `errors` says where. 400, 405, 413 and 415. */
export class InvalidRequest extends ApiError {}

/** The key is missing, wrong or over. 401. */
export class Unauthenticated extends ApiError {}

/** The application, the key or the number may not. 403. */
export class Forbidden extends ApiError {}

/** There is no such thing (any more). 404. */
export class NotFound extends ApiError {}

/** It is final, used up, or comes too late. 409. */
export class Conflict extends ApiError {}

/** Well formed, but not acceptable: a number, a code, a purpose. 422. */
export class Refused extends ApiError {}

/** Too often: wait `retry_after` seconds. 429; never repeated by itself. */
export class RateLimited extends ApiError {}

/** The service could not, or something else answered in its place, such as a proxy. 5xx, or no JSON. */
export class Unavailable extends ApiError {}

const KINDS: Record<number, typeof ApiError> = {
  400: InvalidRequest, 401: Unauthenticated, 403: Forbidden, 404: NotFound, 405: InvalidRequest, 409: Conflict,
  413: InvalidRequest, 415: InvalidRequest, 422: Refused, 429: RateLimited,
};

/** Return the error of a status. The service has one status for each code, so this is by code too. */
export function error_of(status: number, problem: Problem, request_id: string | undefined): ApiError {
  const other = status >= 400 && status < 500 ? ApiError : Unavailable;
  return new (KINDS[status] ?? other)(status, problem, request_id);
}
