//! `payloads.messages`: the conversation of a call, told from its bodies when somebody asks for it. It stands in no file,
//! so what is read is always what the log has proof of.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray, ListBuilder, StringBuilder, StructBuilder};
use arrow::datatypes::{DataType, Field};
use datafusion::catalog::TableProvider;
use datafusion::common::{Result, exec_err};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::logical_expr::{ColumnarValue, Expr, LogicalPlanBuilder, ScalarUDF, Volatility, create_udf, ident};
use tollgate_interaction::schema::{self, MESSAGES, Table, Transcribe};

const REQUEST: &str = "request_body";
const RESPONSE: &str = "response_body";

/// The function `messages(request_body, response_body)`.
pub(crate) fn function(transcribe: Transcribe) -> ScalarUDF {
    let tell = move |bodies: &[ColumnarValue]| match &*ColumnarValue::values_to_arrays(bodies)? {
        [requests, responses] => Ok(ColumnarValue::Array(told(requests, responses, transcribe)?)),
        other => exec_err!("`{MESSAGES}` takes a request and a response, not {} values", other.len()),
    };
    let bodies = vec![DataType::Binary, DataType::Binary];
    create_udf(MESSAGES, bodies, schema::messages(), Volatility::Immutable, Arc::new(tell))
}

/// Whether this expression is the column, as the optimiser writes it into whatever asks for it.
pub(crate) fn is_conversation(expression: &Expr) -> bool {
    matches!(expression, Expr::ScalarFunction(call) if call.name() == MESSAGES)
}

fn told(requests: &ArrayRef, responses: &ArrayRef, transcribe: Transcribe) -> Result<ArrayRef> {
    let (Some(requests), Some(responses)) = (requests.as_binary_opt::<i32>(), responses.as_binary_opt::<i32>()) else {
        return exec_err!("`{MESSAGES}` takes two binary values");
    };
    let fields = schema::message_fields();
    let message = StructBuilder::from_fields(fields.clone(), requests.len());
    let element = Field::new(schema::LIST_ELEMENT, DataType::Struct(fields), false);
    let mut rows = ListBuilder::new(message).with_field(element);
    for (request, response) in requests.iter().zip(responses) {
        let (Some(request), Some(response)) = (request, response) else {
            rows.append_null();
            continue;
        };
        for (role, content) in transcribe(request, response) {
            let message = rows.values();
            for (place, text) in [role, content].into_iter().enumerate() {
                if let Some(column) = message.field_builder::<StringBuilder>(place) {
                    column.append_value(text);
                }
            }
            message.append(true);
        }
        rows.append(true);
    }
    Ok(Arc::new(rows.finish()))
}

/// `payloads` with that column beside the bodies. Whoever does not ask for it pays nothing.
pub(crate) fn payloads(table: Arc<dyn TableProvider>, messages: &ScalarUDF) -> Result<ViewTable> {
    let mut columns = Vec::new();
    for field in Table::Payloads.schema().fields() {
        columns.push(ident(field.name()));
        if field.name() == RESPONSE {
            columns.push(messages.call(vec![ident(REQUEST), ident(RESPONSE)]).alias(MESSAGES));
        }
    }
    let plan = LogicalPlanBuilder::scan(Table::Payloads.folder(), provider_as_source(table), None)?;
    Ok(ViewTable::new(plan.project(columns)?.build()?, None))
}
