// Fills in the code of a message where the browser offers it (WebOTP); the person confirms. Without this the page is whole.
const form = document.getElementById("check");
if ("OTPCredential" in window) {
  const waiting = new AbortController();
  form.addEventListener("submit", () => waiting.abort());
  navigator.credentials.get({ otp: { transport: ["sms"] }, signal: waiting.signal }).then(
    (found) => {
      form.elements.code.value = found.code;
      form.querySelector("button").focus();
    },
    () => {},
  );
}
