//! Write a linemill plugin in Zig: the functions of ../c/linemill.h, which says more about each, in Zig's types.
//!
//!     const linemill = @import("linemill");
//!
//!     fn line(line: *const linemill.Line, out: *linemill.Out) linemill.Error!void {
//!         if (line.len > 80) return out.corrupt("{d} bytes are too many", .{line.len});
//!         out.emitLine(line.text());
//!     }
//!
//!     comptime {
//!         linemill.plugin(.{ .line = line });
//!     }
//!
//! A line that fails leaves nothing of what it emitted, counted or sampled; only the partial is not taken back, so
//! touch it last. A panic is contained too, but costs the host an instance and several runs of the batch.

const std = @import("std");

/// Bytes that belong to someone else.
pub const Bytes = extern struct {
    ptr: ?[*]const u8,
    len: usize,

    pub fn slice(bytes: Bytes) []const u8 {
        return if (bytes.ptr) |ptr| ptr[0..bytes.len] else "";
    }
};

/// One line, without its line end, and where it stands.
pub const Line = extern struct {
    ptr: ?[*]const u8,
    len: usize,
    /// In the batch, from 0.
    index: u32,
    /// In the source, from 1.
    number: u64,

    pub fn text(line: *const Line) []const u8 {
        return if (line.ptr) |ptr| ptr[0..line.len] else "";
    }
};

/// What a request is about: one source, run once.
pub const Request = extern struct {
    id: Bytes,
    source: Bytes,
    /// 0 for the first run.
    attempt: u32,
    /// Milliseconds since the Unix epoch.
    started_at: u64,
};

/// How the lines of a request ended: `loaded` is the sum of the others.
pub const Counts = extern struct { loaded: u64, processed: u64, corrupted: u64, retried: u64 };

/// Who is to blame. Made by `corrupt` and its siblings, with a reason.
pub const Error = error{ Corrupt, Retry, Fatal };

const Status = enum(c_uint) { ok, corrupt, retry, fatal };

/// What a call writes, measures and adds to the aggregate.
pub const Out = opaque {
    /// Appends bytes as they are.
    pub fn emit(out: *Out, bytes: []const u8) void {
        lm_emit(out, bytes.ptr, bytes.len);
    }

    /// Appends bytes and a line end.
    pub fn emitLine(out: *Out, bytes: []const u8) void {
        lm_emit_line(out, bytes.ptr, bytes.len);
    }

    /// Appends bytes to a named route of the configuration.
    pub fn emitTo(out: *Out, route: [*:0]const u8, bytes: []const u8) void {
        lm_emit_to(out, route, bytes.ptr, bytes.len);
    }

    /// Appends what a format makes, as `std.fmt` does: at most `max` bytes.
    pub fn print(out: *Out, comptime max: usize, comptime format: []const u8, values: anytype) void {
        var buffer: [max]u8 = undefined;
        out.emit(std.fmt.bufPrint(&buffer, format, values) catch &buffer);
    }

    /// Adds to the count `name` under `key`. Keys are kept until the report, so take few.
    pub fn count(out: *Out, name: [*:0]const u8, key: [*:0]const u8, n: i64) void {
        lm_count(out, name, key, n);
    }

    /// Adds a sample. Each crosses to the host: for some lines, not for each.
    pub fn sample(out: *Out, name: [*:0]const u8, key: [*:0]const u8, value: f64) void {
        lm_sample(out, name, key, value);
    }

    /// What the call adds to the request's aggregate: zeros at first, kept from one call to the next.
    pub fn partial(out: *Out, comptime T: type) *align(1) T {
        return @ptrCast(lm_partial(out, @sizeOf(T)));
    }

    /// The data are at fault: running the line again cannot help.
    pub fn corrupt(out: *Out, comptime format: []const u8, values: anytype) Error {
        return because(lm_corrupt, out, format, values, error.Corrupt);
    }

    /// Running the line again may help.
    pub fn retry(out: *Out, comptime format: []const u8, values: anytype) Error {
        return because(lm_retry, out, format, values, error.Retry);
    }

    /// Nothing more of this request can succeed now: it stops, and what is left is retried.
    pub fn fatal(out: *Out, comptime format: []const u8, values: anytype) Error {
        return because(lm_fatal, out, format, values, error.Fatal);
    }
};

const Because = fn (*Out, [*:0]const u8, ...) callconv(.c) Status;

// Longer reasons are cut.
fn because(say: Because, out: *Out, comptime format: []const u8, values: anytype, failure: Error) Error {
    var buffer: [1024]u8 = undefined;
    const reason: []const u8 = std.fmt.bufPrint(&buffer, format, values) catch &buffer;
    _ = say(out, "%.*s", @as(c_int, @intCast(reason.len)), reason.ptr);
    return failure;
}

/// `bytes` as they are shown in a reason: at most 40 of them, those that are no printable ASCII escaped. The text
/// lives until the next call.
pub fn shown(bytes: []const u8) []const u8 {
    return std.mem.span(lm_shown(bytes.ptr, bytes.len));
}

/// A value of the configuration's `settings`. It stays allocated.
pub fn setting(name: [*:0]const u8) ?[]const u8 {
    return std.mem.span(lm_setting(name) orelse return null);
}

/// Milliseconds until work on this request stops.
pub fn remainingMs() u64 {
    return lm_remaining_ms();
}

/// Makes the component's functions of the plugin's own: `line`, and of `pre`, `open`, `merge` and `post` what is needed.
pub fn plugin(comptime own: anytype) void {
    const Made = struct {
        fn line(of: *const Line, out: *Out) callconv(.c) Status {
            return status(own.line(of, out));
        }
        fn pre(request: *const Request, out: *Out) callconv(.c) Status {
            return status(own.pre(request, out));
        }
        fn open(context: Bytes, out: *Out) callconv(.c) Status {
            return status(own.open(context.slice(), out));
        }
        fn merge(into: *Out, from: Bytes) callconv(.c) Status {
            return status(own.merge(into, from.slice()));
        }
        fn post(request: *const Request, counts: *const Counts, total: Bytes, closing: *Out) callconv(.c) Status {
            return status(own.post(request, counts, total.slice(), closing));
        }
    };
    for (std.meta.fieldNames(@TypeOf(own))) |name| {
        @export(&@field(Made, name), .{ .name = "linemill_" ++ name });
    }
}

fn status(result: Error!void) Status {
    result catch |failure| return switch (failure) {
        error.Corrupt => .corrupt,
        error.Retry => .retry,
        error.Fatal => .fatal,
    };
    return .ok;
}

extern fn lm_emit(out: *Out, ptr: [*]const u8, len: usize) void;
extern fn lm_emit_line(out: *Out, ptr: [*]const u8, len: usize) void;
extern fn lm_emit_to(out: *Out, route: [*:0]const u8, ptr: [*]const u8, len: usize) void;
extern fn lm_count(out: *Out, name: [*:0]const u8, key: [*:0]const u8, n: i64) void;
extern fn lm_sample(out: *Out, name: [*:0]const u8, key: [*:0]const u8, value: f64) void;
extern fn lm_partial(out: *Out, size: usize) *anyopaque;
extern fn lm_corrupt(out: *Out, format: [*:0]const u8, ...) Status;
extern fn lm_retry(out: *Out, format: [*:0]const u8, ...) Status;
extern fn lm_fatal(out: *Out, format: [*:0]const u8, ...) Status;
extern fn lm_shown(ptr: [*]const u8, len: usize) [*:0]const u8;
extern fn lm_setting(name: [*:0]const u8) ?[*:0]const u8;
extern fn lm_remaining_ms() u64;
