-- name: list_missing_settings
-- Which of these the session does not have, and whose they are to be.
SELECT quote_ident(current_user), one.name, one.value
FROM unnest(:names::text[], :values::text[]) AS one (name, value)
WHERE current_setting(one.name) <> one.value;
