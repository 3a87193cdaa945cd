/** A client of otp-service. */
export * from "./answers.js";
export type { Options } from "./calls.js";
export { OtpService } from "./client.js";
export {
  ApiError, Conflict, ConnectionFailed, Forbidden, InvalidProof, InvalidRequest, InvalidWebhook, NotFound, OtpError,
  RateLimited, Refused, TimedOut, Unauthenticated, Unavailable,
} from "./errors.js";
export * from "./inputs.js";
export * as proofs from "./proofs.js";
export * as webhooks from "./webhooks.js";
