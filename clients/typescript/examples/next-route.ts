/** Route handlers of Next (`app/api/login/route.ts`): POST sends a code, PUT checks it. They need nothing of Next. */
import { randomUUID } from "node:crypto";
import { ApiError, OtpError, OtpService } from "otp-service-client";

let otp: OtpService | undefined;

/** Return the client, made at the first request: the build has no key. Tests give a fake. */
export function service(other?: OtpService): OtpService {
  otp = other ?? otp ?? new OtpService(process.env["OTP_URL"] ?? "", process.env["OTP_KEY"] ?? "");
  return otp;
}

/** What was started, by session; with several processes keep it in a store that they share. */
const started = new Map<string, { id: string; number: string }>();

export async function POST(request: Request): Promise<Response> {
  const { phone } = (await request.json()) as { phone: string };
  return answer(async () => {
    const client_ip = request.headers.get("x-real-ip"); // as your proxy sets it
    const verification = await service().verifications.start({ to: phone, client_ip });
    const session = randomUUID();
    started.set(session, { id: verification.id, number: verification.destination }); // take neither from the browser
    const cookie = `session=${session}; HttpOnly; Secure; SameSite=Lax; Path=/`;
    return Response.json({ sent_to: verification.to }, { headers: { "Set-Cookie": cookie } });
  });
}

export async function PUT(request: Request): Promise<Response> {
  const { code } = (await request.json()) as { code: string };
  const [, session = ""] = /(?:^|; )session=([\w-]+)/.exec(request.headers.get("cookie") ?? "") ?? [];
  const mine = started.get(session);
  if (!mine) return Response.json({ say: "Please give your number first." }, { status: 400 });
  return answer(async () => {
    const { valid, reason, checks_left } = await service().verifications.check(mine.id, { code });
    if (!valid) return Response.json({ reason, checks_left }, { status: 403 });
    started.delete(session); // and log in mine.number, never a number of this request: it may be another person's
    return Response.json({ welcome: mine.number });
  });
}

/** Answer, or say what is wrong; docs/integration.md has what to tell the person, for each code. */
async function answer(act: () => Promise<Response>): Promise<Response> {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof OtpError)) throw error;
    const code = error instanceof ApiError ? error.code : "unreachable";
    return Response.json({ say: "We cannot send codes at the moment.", code }, { status: 503 });
  }
}
