// An independent Sparkplug B host: npm mqtt and sparkplug-payload, none of our code.
//
//   node host.js PORT      PORT 0: no broker, only the codec
//
// Commands, one JSON object a line on stdin; every one is answered by one JSON line on stdout:
//   {"do":"report"}                                            what was seen so far
//   {"do":"rebirth","group":G,"node":N,"timestamp":true}       NCMD; "timestamp":false leaves every timestamp out
//   {"do":"command","group":G,"node":N,"device":D,"metrics":[{"name","type","value"}]}   DCMD, NCMD without device
//   {"do":"state","host":H,"online":true,"timestamp":MS}       STATE, retained
//   {"do":"decode","hex":HEX}, {"do":"encode","payload":{...}} the codec
//   {"do":"stop"} or the end of stdin                          the last report, and exit
"use strict";

const readline = require("readline");
const spb = require("sparkplug-payload").get("spBv1.0");

const port = Number(process.argv[2]);
const seen = { counts: {}, seq_gaps: 0, bdseq_mismatches: 0, births: [], deaths: [], undeclared: 0, historical: 0, values: {}, errors: [] };
const nodes = {};

// 64 bit integers and bytes have no JSON form of their own: decimal text, hex text.
function plain(_key, value) {
  if (value && value.low !== undefined && value.unsigned !== undefined) return value.toString();
  if (value && value.type === "Buffer") return Buffer.from(value.data).toString("hex");
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  return value;
}

function say(document) {
  process.stdout.write(JSON.stringify(document, plain) + "\n");
}

function bdSeq(payload) {
  const metric = (payload.metrics || []).find((one) => one.name === "bdSeq");
  return metric ? Number(metric.value) : null;
}

function follow(kind, key, device, payload) {
  const seq = payload.seq === undefined ? null : Number(payload.seq);
  const metrics = payload.metrics || [];
  if (kind === "NBIRTH") {
    if (seq !== 0) seen.seq_gaps += 1;
    nodes[key] = { seq: 0, bdSeq: bdSeq(payload), declared: {} };
    seen.births.push({ node: key, bdSeq: bdSeq(payload) });
  }
  const node = nodes[key];
  if (kind === "NDEATH") {
    seen.deaths.push({ node: key, bdSeq: bdSeq(payload) });
    if (node && node.bdSeq !== bdSeq(payload)) seen.bdseq_mismatches += 1;
    return;
  }
  if (!node) {
    seen.seq_gaps += 1;
    return;
  }
  if (kind !== "NBIRTH") {
    if (seq !== (node.seq + 1) % 256) seen.seq_gaps += 1;
    node.seq = seq;
  }
  const place = device === undefined ? key : key + "/" + device;
  for (const metric of metrics) {
    if (kind.endsWith("BIRTH")) node.declared[place + "/" + metric.name] = metric.type;
    else if (!(place + "/" + metric.name in node.declared)) seen.undeclared += 1;
    if (metric.isHistorical) seen.historical += 1;
    if (metric.type && metric.type !== "Unknown") seen.values[place + "/" + metric.name] = metric.value === undefined ? null : metric.value;
  }
}

function onMessage(topic, body) {
  const [, group, kind, node, device] = topic.split("/");
  if (group === "STATE" || kind.endsWith("CMD")) return;
  seen.counts[kind] = (seen.counts[kind] || 0) + 1;
  try {
    follow(kind, group + "/" + node, device, spb.decodePayload(body));
  } catch (error) {
    seen.errors.push(kind + ": " + error.message);
  }
}

function commandTopic(order) {
  const kind = order.device === undefined ? "NCMD" : "DCMD";
  return ["spBv1.0", order.group, kind, order.node].concat(order.device === undefined ? [] : [order.device]).join("/");
}

function publish(topic, body, options, done) {
  client.publish(topic, body, options, (error) => done(error ? { error: error.message } : { done: topic }));
}

function obey(order, done) {
  const now = Date.now();
  if (order.do === "report") done(seen);
  else if (order.do === "rebirth") {
    const metric = { name: "Node Control/Rebirth", type: "Boolean", value: true };
    const payload = { metrics: [metric] };
    if (order.timestamp !== false) payload.timestamp = metric.timestamp = now;
    publish(commandTopic({ group: order.group, node: order.node }), spb.encodePayload(payload), { qos: 0 }, done);
  } else if (order.do === "command") {
    const metrics = order.metrics.map((metric) => ({ timestamp: now, ...metric }));
    publish(commandTopic(order), spb.encodePayload({ timestamp: now, metrics }), { qos: 0 }, done);
  } else if (order.do === "state") {
    const body = JSON.stringify({ online: order.online, timestamp: order.timestamp === undefined ? now : order.timestamp });
    publish("spBv1.0/STATE/" + order.host, body, { qos: 1, retain: true }, done);
  } else if (order.do === "decode") done(spb.decodePayload(Buffer.from(order.hex, "hex")));
  else if (order.do === "encode") {
    const payload = order.payload;
    for (const metric of payload.metrics || []) {
      if (metric.type === "Bytes" || metric.type === "File") metric.value = Buffer.from(metric.value, "hex");
    }
    done({ hex: Buffer.from(spb.encodePayload(payload)).toString("hex") });
  } else done({ error: "unknown order" });
}

function stop() {
  if (client) client.end(false, {}, () => process.exit(0));
  else process.exit(0);
}

let client = null;
function listen() {
  const lines = readline.createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    const order = JSON.parse(line);
    if (order.do === "stop") {
      lines.close();
      return;
    }
    try {
      obey(order, say);
    } catch (error) {
      say({ error: error.message });
    }
  });
  lines.on("close", () => {
    say(seen);
    stop();
  });
}

if (port === 0) listen();
else {
  client = require("mqtt").connect({ host: "127.0.0.1", port, protocolVersion: 5, clean: true, reconnectPeriod: 100 });
  client.on("message", onMessage);
  client.on("error", (error) => seen.errors.push(error.message));
  client.on("connect", () => client.subscribe("spBv1.0/#", { qos: 1 }));
  client.once("connect", listen);
}
