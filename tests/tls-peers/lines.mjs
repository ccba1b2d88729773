// Reporter for node's test runner: one line for each test, `ok NAME` or `FAILED NAME: why`.
export default async function* lines(source) {
  for await (const { type, data } of source) {
    if (type === 'test:pass' && data.details.type !== 'suite') yield `ok ${data.name}\n`;
    if (type === 'test:fail') {
      const error = data.details.error;
      yield `FAILED ${data.name}: ${String(error.cause?.message ?? error.message).replaceAll('\n', ' ')}\n`;
    }
  }
}
