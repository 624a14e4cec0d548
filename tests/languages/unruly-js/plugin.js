// A guest whose lines tell it how to misbehave, as unruly-c and unruly-py understand them too. Other lines are echoed.
//
//   !corrupt …, !retry …, !rest …, !fatal …   throws that, after it has written, counted and sampled something
//   !count NAME KEY N, !sample NAME X, !route NAME …, !partial …
//   !setting NAME, !context, !number, !text    writes the value, the context, the line's number, its length as text
//   !bug                                       an exception that nobody meant
//   !escape                                    the same, past the SDK
//   !grow, !spin, !recurse, !abort             takes all memory, all time, all of the stack, or ends itself

import { Corrupt, Fatal, Partial, Retry, plugin, setting } from '../../../guest-sdk/js/linemill.js';

let context;

const made = plugin({
  pre: (request) => ({ attempt: request.attempt, setting: setting('context') ?? null }),
  open(sent) {
    context = sent;
  },
  line(line, batch) {
    if (line.bytes[0] !== 33) return batch.emitLine(line.bytes);
    const [name, ...words] = line.text.slice(1).split(' ');
    COMMANDS[name](words.join(' '), batch, words, line);
  },
  merge: (a, b) => a + b,
  post(request, counts, total, closing) {
    if (setting('post') !== 'emit') return;
    const { loaded, processed, corrupted, retried } = counts;
    closing.emitLine(`post: ${loaded} ${processed} ${corrupted} ${retried} ${total ?? ''}`);
  },
});

export const { reducer } = made;
export const processor = {
  ...made.processor,
  process(firstLine, bytes) {
    if (bytes[0] === 33 && bytes[1] === 101) tellWhatIsUndefined('escape');
    return made.processor.process(firstLine, bytes);
  },
};

function effects(batch) {
  batch.emit('never');
  batch.route('more').emit('never');
  batch.count('never');
  batch.sample('never', '', 1);
}

function blame(kind) {
  return (text, batch) => {
    effects(batch);
    throw new kind(text);
  };
}

function tellWhatIsUndefined(text) {
  return undefined[text];
}

function recurse(depth) {
  return recurse(depth + 1) + 1;
}

const COMMANDS = {
  corrupt: blame(Corrupt),
  retry: blame(Retry),
  rest: blame(Partial),
  fatal: blame(Fatal),
  count: (_, batch, [name, key, n]) => batch.count(name, key, Number(n)),
  sample: (_, batch, [name, x]) => batch.sample(name, '', Number(x)),
  route: (_, batch, [name, ...words]) => batch.route(name).emitLine(words.join(' ')),
  partial(text, batch) {
    batch.partial = `${batch.partial ?? ''}${text},`;
  },
  setting: (name, batch) => batch.emitLine(setting(name, '(not set)')),
  context: (_, batch) => batch.emitLine(`${context.attempt} ${context.setting}`),
  number: (_, batch, words, line) => batch.emitLine(`${line.number} ${line.index}`),
  text: (text, batch) => batch.emitLine(`${[...text].length}`),
  bug: (text) => tellWhatIsUndefined(text),
  grow() {
    for (const all = []; ;) all.push(new Uint8Array(1 << 20));
  },
  spin() {
    for (;;);
  },
  recurse: () => recurse(0),
};
