//! The runbook file.

pub mod model;
pub mod value;

#[derive(Debug, Clone)]
pub struct Report {
    pub findings: Vec<Finding>,
}
#[derive(Debug, Clone)]
pub struct Finding {
    pub message: String,
    pub help: Option<String>,
    pub label: String,
    pub span: model::Span,
}
pub fn parse(_source: &[u8]) -> Result<model::Runbook, Report> {
    Err(Report { findings: vec![] })
}
