/**
 * The operations of the API, one method each; `/docs` of the service tells all members.
 *
 * `idempotency_key` is made anew for each call and kept in its repetitions. Give one of your own where the same wish
 * may come twice, such as the id of a form that a double click sends: then the second is answered as the first was.
 * Calls without one that would do something twice are tried once. Every method rejects with an `OtpError`, and throws a
 * `TypeError` for an id or a key that cannot be one.
 */
import type * as answers from "./answers.js";
import { FAST, key_of, part, sleep, type Caller } from "./calls.js";
import type { Channel, Claims, Consent, Start, Time, ToNumber, ToPurpose, Transaction } from "./inputs.js";

/** What a call takes that can be repeated under a key. */
export interface Keyed {
  idempotency_key?: string;
}

class Resource {
  constructor(protected readonly call: Caller) {}
}

/** Proofs that a person holds a number. */
export class Verifications extends Resource {
  /** Send a code to a number. */
  start(body: Start, options: Keyed = {}): Promise<answers.StartedVerification> {
    return this.call("POST /v1/verifications", { body, key: key_of(options), seconds: FAST });
  }

  /** Read a verification and its deliveries. Its `status` is no proof: only a check is. */
  get(id: string): Promise<answers.Verification> {
    return this.call(`GET /v1/verifications/${part(id)}`, { seconds: FAST, expected_id: id });
  }

  /**
   * Compare what the person typed, once. A wrong code is no error: look at `valid`. With the number that you log in as
   * `to`, a verification of another number rejects with `Refused`, `number-mismatch`.
   */
  check(
    id: string,
    body: Partial<ToNumber> & { code: string; transaction?: Transaction | null },
    options: Keyed = {},
  ): Promise<answers.CheckResult> {
    const sent = { body, key: key_of(options), seconds: FAST, says: "valid", expected_id: id };
    return this.call(`POST /v1/verifications/${part(id)}/check`, sent);
  }

  /** Send the code again, not before `resend_after`. */
  resend(
    id: string,
    body: { channel?: Channel | null } = {},
    options: Keyed = {},
  ): Promise<answers.Verification> {
    const sent = { body, key: key_of(options), seconds: FAST, expected_id: id };
    return this.call(`POST /v1/verifications/${part(id)}/resend`, sent);
  }

  /** End a verification: its code is dead. */
  cancel(id: string, body: Record<string, never> = {}, options: Keyed = {}): Promise<answers.Verification> {
    const sent = { body, key: key_of(options), seconds: FAST, expected_id: id };
    return this.call(`POST /v1/verifications/${part(id)}/cancel`, sent);
  }
}

/** Results of hosted pages. */
export class PageResults extends Resource {
  /** Use up the result that a person's browser brought back. Tried once. */
  redeem(body: { result: string }): Promise<answers.PageResult> {
    return this.call("POST /v1/page-results/redeem", { body, once: true, seconds: FAST });
  }
}

/** Signed statements of approvals; `proofs.verify` checks one without asking. */
export class Proofs extends Resource {
  /** Use up a proof. Tried once. */
  redeem(body: { proof: string }): Promise<{ claims: Claims }> {
    return this.call("POST /v1/proofs/redeem", { body, once: true, seconds: FAST });
  }

  /** Return every key that ever signed, the newest first. */
  keys(): Promise<answers.ProofKey[]> {
    return this.call("GET /v1/proofs/keys");
  }

  /** Return the keys that sign now, or did a moment ago. */
  key_set(): Promise<answers.KeySet> {
    return this.call("GET /.well-known/jwks.json", { seconds: FAST });
  }
}

/** Authenticator apps. */
export class Factors extends Resource {
  /** Make a secret for an app, or take over that of a `uri`. */
  enrol(
    body: { user: string; label: string; type?: "totp"; qr?: "svg" | "png" | null; uri?: string | null },
    options: Keyed = {},
  ): Promise<answers.Enrolment> {
    return this.call("POST /v1/factors", { body, key: key_of(options) });
  }

  /** Compare the first code. */
  activate(
    id: string,
    body: { code: string; context?: string | null },
    options: Keyed = {},
  ): Promise<answers.ActivationResult> {
    const sent = { body, key: key_of(options), says: "valid", expected_id: id };
    return this.call(`POST /v1/factors/${part(id)}/activate`, sent);
  }

  /** Compare a code of an app. Name the `user` of your session, and the `purpose`. */
  check(
    id: string,
    body: {
      code: string;
      user?: string | null;
      purpose?: string | null;
      after?: string | null;
      context?: string | null;
    },
    options: Keyed = {},
  ): Promise<answers.FactorCheckResult> {
    const sent = { body, key: key_of(options), seconds: FAST, says: "valid", expected_id: id };
    return this.call(`POST /v1/factors/${part(id)}/check`, sent);
  }

  /** Change what the list of a user's apps shows. */
  rename(id: string, body: { label: string }): Promise<answers.Factor> {
    return this.call(`POST /v1/factors/${part(id)}/rename`, { body });
  }

  /** Remove an app, with a `code` of it or a `reason`. Tried once. */
  remove(
    id: string,
    body: {
      code?: string | null;
      reason?: "lost" | "stolen" | "replaced" | "closed" | "other" | null;
      context?: string | null;
    },
  ): Promise<answers.FactorCheckResult> {
    return this.call(`POST /v1/factors/${part(id)}/remove`, { body, once: true, says: "valid", expected_id: id });
  }

  /** Read an app; its secret is never shown again. */
  get(id: string): Promise<answers.Factor> {
    return this.call(`GET /v1/factors/${part(id)}`);
  }
}

/** Authenticator apps by user. */
export class UserFactors extends Resource {
  /** Return the active apps of a user. */
  find(body: { user: string }): Promise<answers.UserFactors> {
    return this.call("POST /v1/user-factors", { body });
  }
}

/** Recovery codes for a lost app. */
export class RecoveryCodes extends Resource {
  /** Make ten, which replace all that the user had. */
  make(body: { user: string }): Promise<answers.RecoveryCodes> {
    return this.call("POST /v1/recovery-codes", { body });
  }

  /** Use a code up; the answer has a new one for it. */
  check(
    body: { user: string; code: string; purpose?: string | null; after?: string | null; context?: string | null },
    options: Keyed = {},
  ): Promise<answers.RecoveryCheckResult> {
    return this.call("POST /v1/recovery-codes/check", { body, key: key_of(options), says: "valid" });
  }
}

/** Consents to messages. */
export class Consents extends Resource {
  /** Record a consent apart from a start. */
  record(body: ToPurpose & Consent & { client_ip?: string | null }): Promise<answers.ConsentRecord> {
    return this.call("PUT /v1/consents", { body });
  }

  /** Read the consents of a number for a purpose. */
  find(body: ToPurpose): Promise<answers.ConsentRecord> {
    return this.call("POST /v1/consents/find", { body });
  }

  /** Record a withdrawal. */
  withdraw(body: ToPurpose): Promise<answers.ConsentRecord> {
    return this.call("POST /v1/consents/withdraw", { body });
  }
}

/** `all` messages, or advertising alone. */
export type Scope = "all" | "marketing_only";

/** Numbers that get no messages. */
export class Suppressions extends Resource {
  /** Stop the application's messages to a number. */
  record(body: ToNumber & { reason?: string; until?: Time | null; scope?: Scope }): Promise<answers.SuppressionRecord> {
    return this.call("PUT /v1/suppressions", { body });
  }

  /** Read the suppressions of a number. */
  find(body: ToNumber): Promise<answers.SuppressionRecord> {
    return this.call("POST /v1/suppressions/find", { body });
  }

  /** Allow messages again; after a stop of the person this needs a later `consent`. */
  lift(body: ToPurpose & { consent?: Consent | null; scope?: Scope }): Promise<answers.SuppressionRecord> {
    return this.call("POST /v1/suppressions/lift", { body });
  }
}

/** Data held of numbers. */
export class Subjects extends Resource {
  /** Stop a number at once, for a customer who reports fraud. */
  freeze(body: ToNumber & { reason?: string }): Promise<answers.Freeze> {
    return this.call("POST /v1/subjects/freeze", { body });
  }

  /** Lift a freeze. */
  unfreeze(body: ToNumber): Promise<answers.Freeze> {
    return this.call("POST /v1/subjects/unfreeze", { body });
  }

  /** Return all that is held of a number. */
  export(body: ToNumber): Promise<answers.SubjectExport> {
    return this.call("POST /v1/subjects/export", { body });
  }

  /** Erase the data of a number, but for what disputes need. */
  erase(body: ToNumber): Promise<answers.Erasure> {
    return this.call("POST /v1/subjects/erase", { body });
  }
}

/** Data held of users. */
export class Users extends Resource {
  /** Accept no code of a user's apps, and no recovery code. */
  freeze(body: { user: string; reason?: string }): Promise<answers.UserFreeze> {
    return this.call("POST /v1/users/freeze", { body });
  }

  /** Lift a freeze. */
  unfreeze(body: { user: string }): Promise<answers.UserFreeze> {
    return this.call("POST /v1/users/unfreeze", { body });
  }

  /** Return all that is held of a user. */
  export(body: { user: string }): Promise<answers.UserExport> {
    return this.call("POST /v1/users/export", { body });
  }

  /** Remove a user's apps and recovery codes. */
  erase(body: { user: string }): Promise<answers.Erasure> {
    return this.call("POST /v1/users/erase", { body });
  }
}

/** Endpoints for webhooks; `webhooks.verify` checks what arrives there. */
export class Endpoints extends Resource {
  /** Make an endpoint. Its secret is in this answer and nowhere else. Tried once. */
  add(body: { url: string; types: string[] }): Promise<answers.IssuedEndpoint> {
    return this.call("POST /v1/endpoints", { body, once: true });
  }

  /** Return the endpoints, oldest first. */
  list(): Promise<answers.Endpoint[]> {
    return this.call("GET /v1/endpoints");
  }

  /** Read an endpoint. */
  get(id: string): Promise<answers.Endpoint> {
    return this.call(`GET /v1/endpoints/${part(id)}`);
  }

  /** Replace address and types. */
  change(id: string, body: { url: string; types: string[] }): Promise<answers.Endpoint> {
    return this.call(`PUT /v1/endpoints/${part(id)}`, { body });
  }

  /** Replace the secret; the old one signs too for `overlap` seconds, by default a day. Tried once. */
  rotate(id: string, body: { overlap?: number } = {}): Promise<answers.IssuedEndpoint> {
    return this.call(`POST /v1/endpoints/${part(id)}/rotate`, { body, once: true });
  }

  /** Send webhooks again from now on. */
  enable(id: string): Promise<answers.Endpoint> {
    return this.call(`POST /v1/endpoints/${part(id)}/enable`, { body: {} });
  }

  /** Hold its webhooks. */
  disable(id: string): Promise<answers.Endpoint> {
    return this.call(`POST /v1/endpoints/${part(id)}/disable`, { body: {} });
  }

  /** Remove it for good. Tried once. */
  remove(id: string): Promise<answers.Endpoint> {
    return this.call(`POST /v1/endpoints/${part(id)}/remove`, { body: {}, once: true });
  }

  /** Send what was held or failed, with `delivered` everything, since a time. Tried once. */
  replay(id: string, body: { since: Time; delivered?: boolean }): Promise<answers.Replay> {
    return this.call(`POST /v1/endpoints/${part(id)}/replay`, { body, once: true });
  }
}

/** Webhooks and their deliveries. */
export class Webhooks extends Resource {
  /** Return the newest 100, or those before a time. */
  list(
    query: { endpoint?: string; verification?: string; status?: string; before?: Time } = {},
  ): Promise<answers.Webhook[]> {
    return this.call("GET /v1/webhooks", { query });
  }

  /** Send a webhook once more. Tried once. */
  replay(id: string): Promise<answers.Replay> {
    return this.call(`POST /v1/webhooks/${part(id)}/replay`, { body: {}, once: true });
  }
}

/** Seconds between two looks into the sandbox. */
const LOOK = 0.1;

/** What is counted: the hours that begin at `from` or later, and before `until`, by default now. */
export interface StatsQuery<By extends string> {
  from: Time;
  until?: Time;
  /** Members to group rows by; by default there is one row of all. */
  by?: By[];
}

/** Counts of the application. */
export class Stats extends Resource {
  /** Count verifications: started, approved, and their cost. */
  verifications(
    query: StatsQuery<"hour" | "day" | "purpose" | "country" | "number_prefix" | "channel" | "standing">,
  ): Promise<answers.VerificationStats> {
    return this.call("GET /v1/stats/verifications", { query });
  }

  /** Count messages by outcome. */
  messages(
    query: StatsQuery<"hour" | "day" | "purpose" | "country" | "channel" | "gateway" | "reason">,
  ): Promise<answers.MessageStats> {
    return this.call("GET /v1/stats/messages", { query });
  }

  /** Count refusals of the rules against abuse. */
  refusals(
    query: StatsQuery<"hour" | "day" | "purpose" | "country" | "number_prefix" | "standing" | "rule">,
  ): Promise<answers.RefusalStats> {
    return this.call("GET /v1/stats/refusals", { query });
  }

  /** Count delays until sending, delivery and approval. */
  delays(query: StatsQuery<"hour" | "day" | "country" | "channel" | "gateway">): Promise<answers.DelayStats> {
    return this.call("GET /v1/stats/delays", { query });
  }
}

/** Messages that the sandbox caught: for tests, never in production. */
export class Sandbox extends Resource {
  /** Return the messages, newest first. */
  messages(query: { verification?: string } = {}): Promise<answers.CaughtMessage[]> {
    return this.call("GET /v1/sandbox/messages", { query, seconds: FAST });
  }

  /**
   * Return the code of a verification, as the handset would show it. A worker needs a moment to send it; rejects with
   * an `Error` where it is not there `within` seconds, 5 by default.
   */
  async code_of(id: string, options: { within?: number } = {}): Promise<string> {
    for (let left = options.within ?? 5; left > 0; left -= LOOK) {
      for (const message of await this.messages({ verification: id })) {
        const code = /\b\d{6,8}\b/.exec(message.text);
        if (code) return code[0];
      }
      await sleep(LOOK);
    }
    throw new Error("the sandbox caught no message with a code");
  }
}

/** Applications that may call the service. */
export class Applications extends Resource {
  /** Return the applications. */
  list(): Promise<answers.Application[]> {
    return this.call("GET /v1/admin/applications");
  }

  /** Make an application; `settings` is its section as in a configuration file. Tried once. */
  add(body: { name: string; settings: Record<string, unknown> }): Promise<answers.Application> {
    return this.call("POST /v1/admin/applications", { body, once: true });
  }

  /** Read an application. */
  get(name: string): Promise<answers.Application> {
    return this.call(`GET /v1/admin/applications/${part(name)}`);
  }

  /** Replace the settings of an application. */
  change(name: string, body: { settings: Record<string, unknown> }): Promise<answers.Application> {
    return this.call(`PUT /v1/admin/applications/${part(name)}`, { body });
  }
}

/** What a key may be used for. */
export type KeyScope = "verify" | "consent" | "subjects" | "webhooks" | "factors" | "stats";

/** API keys of applications. */
export class Keys extends Resource {
  /** Return the keys of the application of a name, oldest first. */
  list(name: string): Promise<answers.ApiKey[]> {
    return this.call(`GET /v1/admin/applications/${part(name)}/keys`);
  }

  /** Make a key. It is in this answer and nowhere else. Tried once. */
  issue(name: string, body: { scopes: KeyScope[]; addresses?: string[] }): Promise<answers.IssuedKey> {
    return this.call(`POST /v1/admin/applications/${part(name)}/keys`, { body, once: true });
  }

  /** Replace a key; the old one goes on for `overlap` seconds, by default a day. Tried once. */
  rotate(name: string, id: string, body: { overlap?: number } = {}): Promise<answers.IssuedKey> {
    return this.call(`POST /v1/admin/applications/${part(name)}/keys/${part(id)}/rotate`, { body, once: true });
  }

  /** End a key for good. */
  revoke(name: string, id: string): Promise<answers.ApiKey> {
    return this.call(`POST /v1/admin/applications/${part(name)}/keys/${part(id)}/revoke`, { body: {} });
  }
}

/** For operators: calls that need a key with the scope `admin`. */
export class Admin {
  readonly applications: Applications;
  readonly keys: Keys;

  constructor(call: Caller) {
    this.applications = new Applications(call);
    this.keys = new Keys(call);
  }
}
