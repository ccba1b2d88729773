// Makes clients/js/websock.js, which is a classic script, an ES module and, where files are CommonJS,
// a module of that kind, and clients/js/websock.cjs of their source:
//   node classic.mjs
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';

const clients = new URL('../../clients/js/', import.meta.url);
const names = 'Websock,WebsockError,socketWebClient';

/** The text of websock.cjs: a classic script that hands its names to `module` where there is one. */
export function commonJs() {
  const { outputFiles } = buildSync({
    entryPoints: [fileURLToPath(new URL('websock.mjs', clients))],
    bundle: true,
    format: 'esm',
    minify: true,
    target: 'es2022',
    write: false,
  });
  const [, body, list] = /^(.*)export\{(.*)\};\s*$/s.exec(outputFiles[0].text);
  return `\
// websock-client, MIT licence; source: clients/js/src
var{${names}}=(()=>{${body}return{${list.replace(/(\w+) as (\w+)/g, '$2:$1')}}})();
if(typeof module=="object")module.exports={${names}};
`;
}

/**
 * The text of websock.js. To a module, the last line awaits the regular expression /'/ (behind 0&&:
 * never), and exports. To a classic script it is the variable await, divided by a text (never), and
 * a comment. Node's require loads no module that has an await, hence the other file.
 */
export function classic() {
  return `${commonJs()}0&&await/'/;export{${names}};//'\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(new URL('websock.cjs', clients), commonJs());
  writeFileSync(new URL('websock.js', clients), classic());
}
