// Makes clients/js/websock.js, which is both a classic script and an ES module, of its source:
//   node classic.mjs > ../../clients/js/websock.js
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';

const names = 'Websock,WebsockError,socketWebClient';

/** The text of websock.js. */
export function classic() {
  const { outputFiles } = buildSync({
    entryPoints: [fileURLToPath(new URL('../../clients/js/websock.mjs', import.meta.url))],
    bundle: true,
    format: 'esm',
    minify: true,
    target: 'es2022',
    write: false,
  });
  const [, body, list] = /^(.*)export\{(.*)\};\s*$/s.exec(outputFiles[0].text);
  // To a module, the last line awaits the regular expression /'/ (behind 0&&: never), and exports.
  // To a classic script it is the variable await, divided by a text (never), and a comment.
  return `\
// websock-client, MIT licence; source: clients/js/src
var{${names}}=(()=>{${body}return{${list.replace(/(\w+) as (\w+)/g, '$2:$1')}}})();
0&&await/'/;export{${names}};//'
`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.stdout.write(classic());
