// The page's half of docs/browser.md: it checks the code and asks for another. Its back end decides.
const { service, site } = document.body.dataset;
const [start, check, note, code, again, voice] = ["start", "check", "note", "code", "again", "voice"].map((id) => document.getElementById(id));
const urdu = JSON.parse(document.getElementById("urdu").textContent); // empty in English
const inWords = (text, ...values) => values.reduce((said, value) => said.replace("{}", () => value), urdu[text] ?? text);
const WORDS = {
  "invalid-number": "This is not a phone number. Please check it.",
  "number-type-not-allowed": "This number cannot receive messages. Please give a mobile number.",
  "country-not-allowed": "We do not send codes to this country.",
  "recipient-suppressed": "We cannot send messages to this number.",
  "recipient-frozen": "We cannot send codes to this number. Please call us.",
  "consent-required": "We need your consent to send you a code.",
  "rate-limited": "Too many attempts. Please try again later.",
  "invalid-code": "A code has only digits. Please check it.",
  "resend-too-soon": "Please wait a little before you ask for another code.",
  "no-sends-left": "Enter the last code that you received, or start again later.",
  expired: "This code has expired. Please ask for a new one.",
  max_attempts_reached: "Too many wrong codes. Please ask for a new one.",
  number_locked: "Too many wrong codes. Please wait a little.",
  transaction_changed: "The payment was changed. Nothing was paid.",
};
const OVER = "This code is no longer valid. Please ask for a new one.";
const LATER = "This does not work at the moment. Please try again in a minute.";
let verification; // id and token, in memory alone
let waiting, ticking, watching, left, sentence;
let busy = false;

async function send(url, body, token) {
  const key = crypto.randomUUID(); // the same for each try: a guess counts once
  for (let tries = 1; ; tries++) {
    const answer = await fetch(url, {
      method: body ? "POST" : "GET",
      headers: {
        ...(token && { Authorization: `Bearer ${token}` }),
        ...(body && { "Content-Type": "application/json" }),
        ...(token && body && { "Idempotency-Key": key }),
      },
      body: body && JSON.stringify(body),
      credentials: token ? "omit" : "same-origin",
      cache: "no-store",
    }).catch(() => null);
    const told = await answer?.json().catch(() => null);
    if (answer?.ok && told) return told;
    if (!token || tries === 3 || (told && answer.status < 500)) throw told ?? { code: "no-answer" };
    await new Promise((done) => setTimeout(done, 1000 * (told?.retry_after ?? tries)));
  }
}
const call = (path, body) => send(`${service}/v1/verifications/${verification.id}${path}`, body, verification.client_token);

function say(words, isFault = false) {
  note.textContent = words;
  note.classList.toggle("fault", isFault);
  code.removeAttribute("aria-invalid");
}

function listen() { // WebOTP: the browser types; the person confirms
  waiting?.abort();
  if (!("OTPCredential" in window)) return;
  waiting = new AbortController();
  navigator.credentials.get({ otp: { transport: ["sms"] }, signal: waiting.signal }).then((found) => {
    code.value = found.code;
    check.querySelector("button").focus();
  }, () => {});
}

function countDown(seconds) {
  clearInterval(ticking);
  const end = performance.now() + 1000 * seconds;
  const tick = () => {
    left = Math.max(0, Math.ceil((end - performance.now()) / 1000));
    again.setAttribute("aria-disabled", left > 0); // and not disabled: it keeps the focus
    voice?.setAttribute("aria-disabled", left > 0);
    again.textContent = left ? inWords("Send again in {} s", left) : inWords("Send again");
  };
  ticking = setInterval(tick, 250);
  tick();
}

// Tell what becomes of the message, until another may be asked for. The service itself may call where no SMS arrives.
function watch(told) {
  clearTimeout(watching);
  const { channel, status, reason } = told.deliveries.at(-1);
  const isOver = status === "undelivered" || (status === "failed" && !/^(unavailable|error|throttled|account)/.test(reason));
  const text = isOver ? "We could not reach {}." : channel === "voice" ? "We are calling {}." : "We have sent a code to {}.";
  if (sentence !== text) say(inWords((sentence = text), `\u2068${told.to.replaceAll(" ", "\u00a0")}\u2069`), isOver);
  if (left && !check.hidden) watching = setTimeout(() => call("").then(watch, () => {}), 2000);
}

function sent(told) {
  for (const button of [again, voice]) if (button) button.hidden = !told.resend_after;
  // Both are times of the service: the clock here may be wrong.
  if (told.resend_after) countDown((Date.parse(told.resend_after) - Date.parse(told.deliveries.at(-1).begun_at)) / 1000);
  sentence = "";
  watch(told);
  code.focus();
  listen();
}

function restart(words) {
  [start.hidden, check.hidden] = [false, true];
  say(inWords(words), true);
  start.querySelector("button").focus();
}

function refused({ code: name, retry_after }) {
  if (name === "resend-too-soon") countDown(retry_after);
  if (!check.hidden && ["not-found", "conflict", "unauthenticated", "not-approved"].includes(name)) return restart(OVER);
  say(inWords(WORDS[name] ?? LATER), true);
}

const once = (task) => async (event) => {
  event.preventDefault();
  if (busy) return;
  busy = true;
  await task().catch(refused);
  busy = false;
};

start?.addEventListener("submit", once(async () => {
  verification = await send(`/${site}/start`, Object.fromEntries(new FormData(start)));
  const told = await call("");
  [start.hidden, check.hidden] = [true, false];
  code.value = "";
  sent(told);
}));

check?.addEventListener("submit", once(async () => {
  waiting?.abort();
  const { transaction } = verification; // as the back end started it: another ends the verification
  const told = await call("/check", { code: code.value, ...(transaction && { transaction }) });
  if (told.valid || told.reason === "already_approved") {
    await send(`/${site}/done`, {});
    return location.reload();
  }
  if (told.reason !== "wrong_code" || !told.checks_left) return restart(WORDS[told.reason] ?? OVER);
  say(inWords("Wrong code. Attempts left: {}.", told.checks_left), true);
  code.setAttribute("aria-invalid", "true");
  code.value = "";
  code.focus();
}));

const resend = (body) => once(async () => {
  if (left) return say(inWords("You can ask for another code in {} seconds.", left));
  sent(await call("/resend", body));
});
again?.addEventListener("click", resend({}));
voice?.addEventListener("click", resend({ channel: "voice" }));
