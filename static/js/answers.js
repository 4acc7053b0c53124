/* What the server answers to “select more”, as entries of the selection and in words. */

import { fill } from "./text.js";

/* Timestamps that the archive does not have are selected too: one message each, as far as is known. */
export const entriesOf = (answer) => [
  ...answer.messages.map(({ timestamp, ...entry }) => [timestamp, entry]),
  ...(answer.unknown ?? []).map((timestamp) => [timestamp, { sender: "", name: "", text: "", count: 1 }]),
];

export function inWords(answer, { added, all }, words) {
  const sentences = [
    fill(words.added, { n: added, all }),
    answer.recalled && fill(words.leftOut, { n: answer.recalled }),
    answer.gone && fill(words.gone, { n: answer.gone }),
    answer.not_nameable && fill(words.notNameable, { n: answer.not_nameable }),
    answer.more && fill(words.newest, { n: words.most }),
    answer.unknown?.length && fill(words.unknown, { n: answer.unknown.length }),
    answer.rejected?.length && `${words.rejected} ${answer.rejected.map(([, why]) => why).join("; ")}.`,
  ];
  return sentences.filter(Boolean).join(" ");
}
