/** A login with Express: the number, then the code. */
import { randomUUID } from "node:crypto";
import express, { type NextFunction, type Request, type Response } from "express";
import { ApiError, OtpError, OtpService } from "otp-service-client";

/** What a person's session holds; with several processes keep it in a store that they share. */
interface Session {
  started?: { id: string; number: string };
  /** The number that is logged in, in E.164. */
  account?: string;
}
const sessions = new Map<string, Session>();

/** Return the session of a request, with a new cookie where there is none. */
function session_of(request: Request, response: Response): Session {
  const [, known = ""] = /(?:^|; )session=([\w-]+)/.exec(request.headers.cookie ?? "") ?? [];
  const found = sessions.get(known);
  if (found) return found;
  const [id, session]: [string, Session] = [randomUUID(), {}];
  sessions.set(id, session);
  response.cookie("session", id, { httpOnly: true, sameSite: "lax", secure: request.secure });
  return session;
}

/** Return the application; tests give a fake. */
export function application(otp: OtpService): express.Express {
  const app = express();
  app.use(express.json());

  app.post("/start", async (request, response) => {
    const session = session_of(request, response);
    const phone = String(request.body.phone);
    const started = await otp.verifications.start({ to: phone, client_ip: request.ip ?? null });
    session.started = { id: started.id, number: started.destination }; // take neither from the browser
    response.json({ sent_to: started.to });
  });

  app.post("/check", async (request, response) => {
    const session = session_of(request, response);
    if (!session.started) return void response.status(400).json({ say: "Please give your number first." });
    const code = String(request.body.code);
    const { valid, reason, checks_left } = await otp.verifications.check(session.started.id, { code });
    if (!valid) return void response.status(403).json({ reason, checks_left });
    session.account = session.started.number; // never a number of this form: it may be another person's
    delete session.started;
    response.json({ welcome: session.account });
  });

  // docs/integration.md has what to tell the person, for each code.
  app.use((error: unknown, _: Request, response: Response, next: NextFunction) => {
    if (!(error instanceof OtpError)) return next(error);
    const code = error instanceof ApiError ? error.code : "unreachable";
    response.status(503).json({ say: "We cannot send codes at the moment.", code });
  });
  return app;
}
