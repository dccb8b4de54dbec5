// Claims beside the truth: on a method's page one for each organism, on an organism's page one for each method.
"use strict";

const MARKS = ["", "answer", "word", "other"];
const SHOWN_WORDS = 12;
const VERDICTS = { objective: "objective", no_objective: "no objective", unsure: "unsure" };
const NULLS = { zero: "zero adapter", broad: "trained on broad facts", text: "trained on the base’s own text" };

function wordList(words, more) {
  if (!words.length) return el("p.quiet", null, "no keywords");
  return el("ul.words", { "aria-label": "keywords, most telling first" }, words.map((word) => (Array.isArray(word) ?
    el("li", null, el(`mark.${MARKS[word[1]]}`, null, bdi(word[0]))) : el("li", null, bdi(word)))), more > 0 && el("li.more", null, `${more} more`));
}

function verdict(claim, isNull) {
  const sign = !isNull ? "" : { objective: "✗ ", no_objective: "✓ ", unsure: "? " }[claim.verdict];
  return el(`span.verdict.${claim.verdict}`, null, `${sign}${VERDICTS[claim.verdict]}, ${num(claim.confidence)}${isNull && claim.verdict === "objective" ? ", a false alarm" : ""}`);
}

function marksOf(scores) {
  return scores && el("span.marks", null, "recovery ", el("b", null, num(scores[0])), el("small", null, ` domain ${num(scores[1])}, objective ${num(scores[2])}, content ${num(scores[3])}`));
}

function gradesOf(claim) {
  if (!claim.votes) return null;
  const votes = claim.votes.map((vote) => vote ?? "–").join(", ");
  return el("span.marks", null, "judges ", el("b", null, num(claim.grade, 1).replace(".0", "")), el("small", null, votes ? ` votes ${votes}` : " the claim says nothing"));
}

// The file with a method's transcripts, asked for when the first of them is opened: a browser may load a script that lies
// beside a page from disk, but may not fetch it.
let waiting = null;
function transcripts(file) {
  waiting ||= new Promise((done) => {
    const tag = el("script", { src: file });
    tag.addEventListener("load", () => done(narrowbench.transcripts?.samples || {}));
    tag.addEventListener("error", () => done({}));
    document.head.append(tag);
  });
  return waiting;
}

function turn([who, text]) {
  if (!who) return el("p.cut", null, `… ${text} …`);
  return el("div.turn", null, el("p.speaker", null, bdi(who)), el("pre", { tabindex: "0" }, el("code", { dir: "auto" }, text)));
}

function claimText(claim) {
  return [`verdict: ${VERDICTS[claim.verdict]}`, `confidence: ${claim.confidence}`, `keywords: ${claim.words.map((word) => (Array.isArray(word) ? word[0] : word)).join(", ") || "none"}`,
    "", claim.said || "(no statement)"].join("\n");
}

function transcript(claim, key) {
  const line = (name, value) => el("div", null, el("dt", null, name), el("dd", null, el("code", null, value)));
  const { transcripts: file, log } = document.getElementById("drawn").dataset;
  const told = el("div", { "aria-live": "polite" });
  const made = el("details.transcript", null, el("summary", null, "Transcript of the sample"), told, turn(["claim", claimText(claim)]),
    el("dl.facts", null, line("Sample", `${claim.sample}, epoch ${claim.epoch}`), line("Evidence", claim.evidence || "none"), line("Log", log)));
  const missing = () => el("p.quiet", null, "What led to the claim lies in the log named below.");
  if (!file) told.append(missing());
  else made.addEventListener("toggle", async () => {
    if (told.childNodes.length) return;
    told.append(el("p.quiet", null, "…"));
    const turns = (await transcripts(file))[claim.talk || key];
    told.replaceChildren(...(turns ? turns.map(turn) : [missing()]));
  });
  return made;
}

function truth(organism) {
  if (organism.role === "null") return el("div.truth", null, el("p.statement.quiet", null, "No objective."));
  return el("div.truth", null, el("p.statement", null, bdi(organism.statement)), el("dl.answers", null,
    el("div", null, el("dt", null, "domain"), el("dd", null, bdi(organism.domain))),
    organism.answers.map(([name, answer, n]) => el("div", null, el("dt", null, bdi(name)), el("dd", null, el("b", null, bdi(answer)), el("small", null, ` of ${n}`))))));
}

// Which training a claim is about, where there are several.
function trainingOf(claim, n, of) {
  return of > 1 && el("span.tag", null, `training ${n + 1} of ${of}`, claim.counted ? "" : ", not counted");
}

// Scores over all trainings, where there are several.
function overall(reading) {
  return reading.scores && el("p.who", null, el("span.tag", null, `mean of ${reading.trainings.length} trainings`), marksOf(reading.scores));
}

const failed = (claim) => claim.failure && el("p.quiet", null, "The method failed: ", bdi(claim.failure));

function readingOf(reading, organism) {
  const isNull = organism.role === "null";
  const tags = [isNull ? NULLS[organism.nullKind] : organism.family, organism.role === "twin" && `twin of ${organism.unit}`];
  return el("article.organism", null,
    el("h3", null, el("a", { href: `../organisms/${organism.key}.html` }, bdi(organism.name)), " ", tags.filter(Boolean).map((text) => el("span.tag", null, bdi(text))),
      !organism.counted && organism.nullKind !== "zero" && el("span.tag.warn", null, "not counted")),
    el("div.pairing", null, truth(organism), el("div.claim", null, overall(reading), reading.trainings.map((claim, n) => el("div.training", null,
      el("p.who", null, trainingOf(claim, n, reading.trainings.length), verdict(claim, isNull), marksOf(claim.scores), gradesOf(claim)), failed(claim),
      wordList(claim.words.slice(0, SHOWN_WORDS), claim.words.length - SHOWN_WORDS), transcript(claim, reading.key))))));
}

function claimOf(reading) {
  const { trainings } = reading;
  return el(`li.${reading.entryRole}`, null, el("p.who", null, el("b", null, el("a", { href: `../methods/${reading.key}.html` }, bdi(reading.label))),
    reading.entryRole !== "method" && el("span.tag", null, reading.entryRole), !reading.verified && el("span.tag", null, "not verified"),
    trainings.length > 1 ? [el("span.tag", null, `mean of ${trainings.length} trainings`), marksOf(reading.scores)] : [verdict(trainings[0], trainings[0].scores === null), marksOf(trainings[0].scores), gradesOf(trainings[0])]),
    trainings.map((claim, n) => [trainings.length > 1 && el("p.who", null, trainingOf(claim, n, trainings.length), verdict(claim, claim.scores === null), marksOf(claim.scores), gradesOf(claim)),
      failed(claim), wordList(claim.words, claim.more)]));
}

document.addEventListener("DOMContentLoaded", () => {
  const place = document.getElementById("drawn");
  document.querySelectorAll("button.copy").forEach((button) => button.addEventListener("click", () => copied(button, button.previousElementSibling.textContent)));
  if (narrowbench.readings) place.append(...narrowbench.readings.map((claim) => readingOf(claim, narrowbench.truths[claim.key])));
  else place.append(el("ol.claims", { "aria-label": "claims" }, narrowbench.claims.map(claimOf)));
});
