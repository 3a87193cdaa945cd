/** What the service's specification says, held against the types of this client: compiled, never run. */
import type * as ours from "otp-service-client";
import type { components, paths } from "./openapi.js";

type Schemas = components["schemas"];

/** Fails to compile where it is not true. */
type Must<T extends true> = T;
type SameMembers<A, B> = [Exclude<keyof A, keyof B>, Exclude<keyof B, keyof A>] extends [never, never] ? true : false;
type Needed<T> = { [K in keyof T]-?: {} extends Pick<T, K> ? never : K }[keyof T];
/** The same members, the same of them needed, and what a user of ours gives is what the service takes: any region. */
type Takes<Mine, Theirs> =
  [SameMembers<Mine, Theirs>, Needed<Mine>, Anywhere<Mine>] extends [true, Needed<Theirs>, Anywhere<Theirs>]
    ? true
    : false;
type Anywhere<T> = Omit<T, "region">;
/** The same members, and what the service gives is what a user of ours gets. */
type Gives<Mine, Theirs> = [SameMembers<Mine, Theirs>, Theirs] extends [true, Mine] ? true : false;
type Same<Mine, Theirs> = [Mine, Theirs] extends [Theirs, Mine] ? true : false;
type Body<M extends (...args: any) => unknown, N extends number = 0> = NonNullable<Parameters<M>[N]>;

export type Checked = [
  Must<Same<ours.Channel, NonNullable<Schemas["StartBody"]["channel"]>>>,
  Must<Takes<ours.Start, Schemas["StartBody"]>>,
  Must<Takes<ours.Transaction, Schemas["TransactionBody"]>>,
  Must<Takes<ours.Consent, Schemas["ConsentBody"]>>,
  Must<Takes<Body<ours.OtpService["verifications"]["check"], 1>, Schemas["CheckBody"]>>,
  Must<Takes<Body<ours.OtpService["verifications"]["resend"], 1>, Schemas["ResendBody"]>>,
  Must<Takes<Body<ours.OtpService["factors"]["enrol"]>, Schemas["EnrolmentBody"]>>,
  Must<Takes<Body<ours.OtpService["factors"]["activate"], 1>, Schemas["FactorCodeBody"]>>,
  Must<Takes<Body<ours.OtpService["factors"]["check"], 1>, Schemas["FactorCheckBody"]>>,
  Must<Takes<Body<ours.OtpService["recovery_codes"]["check"]>, Schemas["RecoveryCodeBody"]>>,
  Must<Takes<Body<ours.OtpService["consents"]["record"]>, Schemas["GivenConsentBody"]>>,
  Must<Takes<Body<ours.OtpService["consents"]["find"]>, Schemas["PurposeBody"]>>,
  Must<Takes<Body<ours.OtpService["suppressions"]["record"]>, Schemas["SuppressionBody"]>>,
  Must<Takes<Body<ours.OtpService["suppressions"]["lift"]>, Schemas["LiftBody"]>>,
  Must<Takes<Body<ours.OtpService["subjects"]["freeze"]>, Schemas["FreezeBody"]>>,
  Must<Takes<Body<ours.OtpService["users"]["freeze"]>, Schemas["UserFreezeBody"]>>,
  Must<Takes<Body<ours.OtpService["endpoints"]["replay"], 1>, Schemas["ReplayBody"]>>,
  Must<Takes<Body<ours.OtpService["admin"]["keys"]["issue"], 1>, Schemas["NewKeyBody"]>>,
  Must<Gives<ours.StartedVerification, Schemas["StartedVerificationAnswer"]>>,
  Must<Gives<ours.Verification, Schemas["VerificationAnswer"]>>,
  Must<Gives<ours.Delivery, Schemas["DeliveryAnswer"]>>,
  Must<Gives<ours.CheckResult, Schemas["CheckResultAnswer"]>>,
  Must<Gives<ours.CaughtMessage, Schemas["CaughtMessageAnswer"]>>,
  Must<Gives<ours.PageResult, Schemas["PageResultAnswer"]>>,
  Must<Gives<ours.ProofKey, Schemas["ProofKeyAnswer"]>>,
  Must<Gives<ours.Factor, Schemas["FactorAnswer"]>>,
  Must<Gives<ours.Enrolment, Schemas["EnrolmentAnswer"]>>,
  Must<Gives<ours.FactorCheckResult, Schemas["FactorCheckResultAnswer"]>>,
  Must<Gives<ours.ActivationResult, Schemas["ActivationResultAnswer"]>>,
  Must<Gives<ours.UserFactors, Schemas["UserFactorsAnswer"]>>,
  Must<Gives<ours.RecoveryCodes, Schemas["RecoveryCodesAnswer"]>>,
  Must<Gives<ours.RecoveryCheckResult, Schemas["RecoveryCheckResultAnswer"]>>,
  Must<Gives<ours.ConsentRecord, Schemas["ConsentRecordAnswer"]>>,
  Must<Gives<ours.SuppressionRecord, Schemas["SuppressionRecordAnswer"]>>,
  Must<Gives<ours.Suppression, Schemas["SuppressionAnswer"]>>,
  Must<Gives<ours.Freeze, Schemas["FreezeAnswer"]>>,
  Must<Gives<ours.SubjectExport, Schemas["SubjectExportAnswer"]>>,
  Must<Gives<ours.Erasure, Schemas["ErasureAnswer"]>>,
  Must<Gives<ours.UserFreeze, Schemas["UserFreezeAnswer"]>>,
  Must<Gives<ours.UserExport, Schemas["UserExportAnswer"]>>,
  Must<Gives<ours.Endpoint, Schemas["EndpointAnswer"]>>,
  Must<Gives<ours.IssuedEndpoint, Schemas["IssuedEndpointAnswer"]>>,
  Must<Gives<ours.Webhook, Schemas["WebhookAnswer"]>>,
  Must<Gives<ours.VerificationStats, Schemas["VerificationStatsAnswer"]>>,
  Must<Gives<ours.MessageStats, Schemas["MessageStatsAnswer"]>>,
  Must<Gives<ours.RefusalStats, Schemas["RefusalStatsAnswer"]>>,
  Must<Gives<ours.DelayStats, Schemas["DelayStatsAnswer"]>>,
  Must<Gives<ours.Application, Schemas["ApplicationAnswer"]>>,
  Must<Gives<ours.ApiKey, Schemas["ApiKeyAnswer"]>>,
  Must<Gives<ours.IssuedKey, Schemas["IssuedKeyAnswer"]>>,
];

/** A start needs nothing but a number, as the generated types have it too. */
type Post<Path extends keyof paths> = paths[Path] extends { post: { requestBody: infer Body } } ? Body : never;
export const start: Post<"/v1/verifications">["content"]["application/json"] = { to: "+923001234567" };
