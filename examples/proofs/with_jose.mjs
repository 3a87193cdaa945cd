/** Checks proofs of approvals (docs/proofs.md) with jose, https://github.com/panva/jose. */
import { createHash } from "node:crypto";
import { createRemoteJWKSet, jwtVerify } from "jose";

const [ISSUER, APPLICATION, PURPOSE, MAX_AGE] = ["https://otp.example", "shop", "payment", 120];
const KEYS = createRemoteJWKSet(new URL(`${ISSUER}/.well-known/jwks.json`), { cacheMaxAge: 300_000 });
const used = new Set(); // with several processes: in a store that they share, for five minutes

/** Return the claims of a proof for this session's verification and payment; throw an error for any other. */
export async function checkProof(proof, verification, payment) {
  const { payload: claims } = await jwtVerify(proof, KEYS, {
    algorithms: ["ES256"],
    typ: "otp-proof+jwt",
    issuer: ISSUER,
    audience: APPLICATION,
    requiredClaims: ["exp", "jti", "auth_time", "purpose", "verification"],
  });
  if (claims.purpose !== PURPOSE || claims.verification !== verification) throw new Error("a proof of something else");
  if (claims.auth_time < Date.now() / 1000 - MAX_AGE) throw new Error("too long ago");
  const agreed = payment && digestOf(payment, claims.txn_salt ?? "");
  if (claims.txn_digest !== agreed) throw new Error("another payment");
  if (used.has(claims.jti)) throw new Error("used before");
  used.add(claims.jti);
  return claims;
}

function digestOf(payment, salt) {
  const digest = createHash("sha256").update(Buffer.from(salt, "base64url"));
  for (const name of ["amount", "currency", "payee", "account", "reference"]) {
    const text = Buffer.from(payment[name] == null ? "-" : `+${payment[name]}`);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(text.length);
    digest.update(length).update(text);
  }
  return digest.digest("base64url");
}
