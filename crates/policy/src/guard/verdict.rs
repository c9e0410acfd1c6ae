//! What a row says about guardrails.
#![allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardPhase { Input, Output, ToolResult }
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardOutcome { Pass, Hit, Error }
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardAction { None, Flag, Redact, Block }
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardVerdict { pub guard: String, pub rule: String, pub phase: GuardPhase, pub verdict: GuardOutcome, pub action: GuardAction, pub matches: u32, pub duration_us: u64, pub detail: Option<String> }
