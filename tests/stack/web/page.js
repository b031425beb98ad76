// What the page says, in the browser as on the server. The address of the API is built in.
const api = import.meta.env.NEXT_PUBLIC_API_URL;

export async function page() {
  const health = await (await fetch(`${api}/health`)).json();
  return `items ${health.version} at ${api}: ${health.status}`;
}
