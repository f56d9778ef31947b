
// Marks in the contents beside the text what is being read; only its chapter is unfolded.
const side = document.querySelector("nav.side");
if (side) {
  const links = [...side.querySelectorAll("a")];
  const heads = links.map(({ hash }) => document.getElementById(hash.slice(1)));
  let now, waiting = false;
  const mark = () => {
    waiting = false;
    const reached = (head) => head.getBoundingClientRect().top < innerHeight / 3;
    const found = links[Math.max(0, heads.findLastIndex(reached))];
    if (found === now) return;
    now?.removeAttribute("aria-current"), (now = found).setAttribute("aria-current", "true");
    side.scrollTop = now.offsetTop - side.clientHeight / 2;
  };
  side.classList.add("follows"), mark();
  addEventListener("scroll", () => { waiting ||= requestAnimationFrame(mark); }, { passive: true });
}
