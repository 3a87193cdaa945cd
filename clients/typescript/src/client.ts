import { caller, type Options } from "./calls.js";
import {
  Admin, Consents, Endpoints, Factors, PageResults, Proofs, RecoveryCodes, Sandbox, Stats, Subjects, Suppressions,
  UserFactors, Users, Verifications, Webhooks,
} from "./resources.js";

/**
 * Calls the service, from a back end: its key is nothing for browsers.
 *
 * `url` is the service's address, `key` an API key. Throws a `TypeError` for what cannot be one, and in a browser;
 * calls reject with an `OtpError`.
 */
export class OtpService {
  readonly verifications: Verifications;
  readonly factors: Factors;
  readonly user_factors: UserFactors;
  readonly recovery_codes: RecoveryCodes;
  readonly proofs: Proofs;
  readonly page_results: PageResults;
  readonly consents: Consents;
  readonly suppressions: Suppressions;
  readonly subjects: Subjects;
  readonly users: Users;
  readonly endpoints: Endpoints;
  readonly webhooks: Webhooks;
  readonly stats: Stats;
  readonly sandbox: Sandbox;
  readonly admin: Admin;

  constructor(url: string, key: string, options: Options = {}) {
    if ("window" in globalThis) throw new TypeError("the API key is the back end's: a browser uses a client token");
    const call = caller(url, key, options);
    this.verifications = new Verifications(call);
    this.factors = new Factors(call);
    this.user_factors = new UserFactors(call);
    this.recovery_codes = new RecoveryCodes(call);
    this.proofs = new Proofs(call);
    this.page_results = new PageResults(call);
    this.consents = new Consents(call);
    this.suppressions = new Suppressions(call);
    this.subjects = new Subjects(call);
    this.users = new Users(call);
    this.endpoints = new Endpoints(call);
    this.webhooks = new Webhooks(call);
    this.stats = new Stats(call);
    this.sandbox = new Sandbox(call);
    this.admin = new Admin(call);
  }
}
