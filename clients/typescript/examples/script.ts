/** A plain script: `OTP_URL=... OTP_KEY=... node script.js +923001234567`, against `otp-service dev`. */
import { OtpService, RateLimited } from "otp-service-client";

const otp = new OtpService(process.env["OTP_URL"] ?? "", process.env["OTP_KEY"] ?? "");
const to = process.argv[2] ?? "+923001234567";
try {
  const started = await otp.verifications.start({ to });
  console.log(`sent to ${started.to}`);
  const code = await otp.sandbox.code_of(started.id); // a person would type it
  const { valid, reason } = await otp.verifications.check(started.id, { code });
  console.log(valid ? "welcome" : `no: ${reason}`);
} catch (error) {
  if (!(error instanceof RateLimited)) throw error;
  console.log(`too many attempts: again in ${error.retry_after} seconds`);
}
