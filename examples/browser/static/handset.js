// New messages appear by themselves. The page is whole without this: then it has to be loaded again.
const log = document.getElementById("log");
const thread = log.firstElementChild;
const toEnd = () => (log.scrollTop = log.scrollHeight);

async function look() {
  const answer = await fetch("/handset", { cache: "no-store" }).catch(() => null);
  if (answer?.ok) {
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const known = new Set([...thread.children].map((one) => one.outerHTML));
    const fresh = [...page.querySelectorAll("ol > li")].filter((one) => !known.has(one.outerHTML));
    thread.append(...fresh);
    if (fresh.length) toEnd();
  }
  setTimeout(look, 1000);
}

toEnd();
look();
