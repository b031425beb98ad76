//! Work that can be done twice, and is, until it is certain that it was done.

/// Does something in a transaction, again if somebody was in the way or the line broke, be it in the middle of a COMMIT:
/// what was done already is found so. It answers with whether it wrote anything.
macro_rules! repeat {
    ($ledger:ident, $what:expr, |$loan:ident| $work:expr) => {{
        let mut tries = $crate::postgres::tries::Tries::begin();
        let mut unanswered = None;
        loop {
            let worked = async {
                let mut $loan = $ledger.pool.begin($crate::postgres::change::BEGIN).await?;
                match $work.await {
                    Err(error @ $crate::sql::ReadError::Database(_)) => Err(error),
                    done => Ok(($loan, done)),
                }
            };
            let error = match $crate::postgres::pool::answered(worked).await {
                Ok((loan, Ok((answer, true)))) => match loan.commit().await {
                    Ok(()) => break Ok(answer),
                    Err($crate::postgres::pool::NotCommitted::Failed(error)) => $crate::sql::ReadError::Database(error),
                    Err($crate::postgres::pool::NotCommitted::Unanswered(error)) => {
                        unanswered = Some(error.to_string());
                        $crate::sql::ReadError::Database(error)
                    }
                },
                Ok((loan, Ok((answer, false)))) => {
                    loan.roll_back().await;
                    break Ok(answer);
                }
                Ok((loan, Err(error))) => {
                    loan.roll_back().await;
                    break Err($crate::postgres::change::Unrecorded::Failed(error));
                }
                Err(error) => error,
            };
            if let Err(error) = tries.after(error).await {
                let unanswered = unanswered
                    .map(|earlier| $crate::postgres::change::Unrecorded::Unanswered(sqlx::Error::Protocol(earlier)));
                break Err(unanswered.unwrap_or($crate::postgres::change::Unrecorded::Failed(error)));
            }
        }
        .map_err(|error| $ledger.unrecorded(error, $what))
    }};
}
