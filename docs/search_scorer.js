/* Guides come before the changelog, the studies of papers and the API's own pages. */
var Scorer = {
  score(result) {
    const [page, , , , score, , kind] = result;
    const isTitle = kind === "title";
    const isAside = /^(changelog|contributing|papers\/|gallery\/|sg_)/.test(page);
    const isApi = page.startsWith("api/") && kind !== "object";
    return score + (isTitle ? 12 : 0) - (isAside ? 8 : 0) - (isApi ? 4 : 0);
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
