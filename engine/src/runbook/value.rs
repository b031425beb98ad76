use super::model::ValueType;
pub fn from_text(_kind: ValueType, text: &str) -> Result<serde_json::Value, String> {
    Ok(serde_json::Value::String(text.into()))
}
pub fn from_json(_kind: ValueType, value: &serde_json::Value) -> Result<serde_json::Value, String> {
    Ok(value.clone())
}
pub fn check(_param: &super::model::Param, _value: &serde_json::Value) -> Result<(), String> {
    Ok(())
}
