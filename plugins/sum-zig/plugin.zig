//! Adds up lines that are integers, and writes the sum at the end, as plugins/sum does in Rust, byte for byte.

const std = @import("std");
const linemill = @import("linemill");

comptime {
    linemill.plugin(.{ .line = line, .merge = merge, .post = post });
}

fn line(of: *const linemill.Line, out: *linemill.Out) linemill.Error!void {
    const text = std.mem.trim(u8, of.text(), " \t\n\x0c\r");
    if (text.len == 0) return;
    const number = integer(text) orelse
        return out.corrupt("not a valid integer: `{s}`", .{linemill.shown(of.text())});
    return add(out, number);
}

/// A decimal integer of 64 bits, with a sign allowed.
fn integer(text: []const u8) ?i64 {
    const negative = text[0] == '-';
    const digits = if (negative or text[0] == '+') text[1..] else text;
    if (digits.len == 0) return null;
    var number: i64 = 0;
    for (digits) |digit| {
        if (!std.ascii.isDigit(digit)) return null;
        const value: i64 = digit - '0';
        number = std.math.mul(i64, number, 10) catch return null;
        // Downwards for what is negative: the smallest number has no positive counterpart.
        number = std.math.add(i64, number, if (negative) -value else value) catch return null;
    }
    return number;
}

fn add(out: *linemill.Out, number: i64) linemill.Error!void {
    const sum = out.partial(i64);
    sum.* = std.math.add(i64, sum.*, number) catch return out.corrupt("the sum does not fit in 64 bits", .{});
}

fn merge(into: *linemill.Out, from: []const u8) linemill.Error!void {
    if (from.len != @sizeOf(i64)) return into.fatal("a partial of {d} bytes", .{from.len});
    return add(into, std.mem.readInt(i64, from[0..8], .little));
}

fn post(_: *const linemill.Request, _: *const linemill.Counts, total: []const u8, closing: *linemill.Out) linemill.Error!void {
    const sum = if (total.len == @sizeOf(i64)) std.mem.readInt(i64, total[0..8], .little) else 0;
    closing.print(32, "{d}\n", .{sum});
}
