/*
 * Ranks the results of the search. Guides come first, then the methods' pages, the API, and last the changelog, the
 * studies of papers and the gallery. Sphinx ranks a word in any heading of a page alike, and a word of the text by its
 * presence only: so the query's words in the page's title and address count in addition.
 */
const stemsOf = (text) =>
  new Set(
    splitQuery(text.toLowerCase().replaceAll("_", " "))
      .filter((word) => !stopwords.has(word))
      .map((word) => new Stemmer().stemWord(word)),
  );

var Scorer = {
  score(result) {
    const [page, title, , , score, , kind] = result;
    if (kind === "object") return score;
    const isAside = /^(changelog|contributing|papers\/|gallery\/|sg_)/.test(page);
    const tier = isAside ? -8 : page.startsWith("api/") ? -4 : page.startsWith("methods/") ? 0 : 4;
    const query = stemsOf(new URLSearchParams(location.search).get("q") || "");
    const names = stemsOf(`${title} ${page}`);
    const share = [...query].filter((word) => names.has(word)).length / Math.max(query.size, 1);
    return score + tier + 12 * share + (kind === "title" && tier > 0 ? 12 : 0);
  },
  // A name itself, such as FFLinear, comes before the text of guides (9), and after their headings (19).
  objNameMatch: 16,
  objPartialMatch: 4,
  objPrio: { 0: -10, 1: 0, 2: -5 }, // modules, which have pages of their own; classes and functions; others
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
